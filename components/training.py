"""The Trainer's `run_fn`: feeds, builds, trains and exports a Vision Transformer."""

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from components import class_names, feeding, initial_weights, run_record, tfrecords
from components.callbacks import EpochKeeper, FiniteLoss, StepProgress
from components.checkpoints import Checkpoints, Progress, checkpoint_key
from components.export import ServedModel, export
from components.feeding import Feed, Graph
from components.preconditions import require_trainable
from components.settings import REPLAYABLE, TrainerConfig
from models.losses import SmoothedCrossEntropy
from models.optim import OptimizerConfig, build_optimizer
from models.vit import ViTConfig, build_vit

TOP_K = 5
_WARMUP_BATCH = 8


def run_fn(fn_args: Any) -> None:
    """Trains on the `train` split, keeps the weights that are best on `eval`, exports.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds the sections `model`, `trainer`,
            `optimizer` (fields by name), `checkpoint_dir` and `initial_weights`, the digest of
            what `trainer.init_from` names, which makes other weights another training.

    Raises:
        UsageError: the training split is smaller than a batch, or the weights to start from
            are missing or another model's.
        DataError: there is one class only.
        FloatingPointError: the loss is no longer finite.
    """
    config = fn_args.custom_config
    trainer = TrainerConfig(**config["trainer"])
    names = _class_names(fn_args.schema_path)
    train_files, eval_files = _files(fn_args.train_files), _files(fn_args.eval_files)
    graph = feeding.load_graph(fn_args.transform_graph_path)
    keras.utils.set_random_seed(trainer.seed)
    keras.config.set_dtype_policy(trainer.precision)
    records = tfrecords.count(train_files)
    require_trainable(records, trainer.batch_size, len(names))
    # The last step of an epoch may be smaller.
    steps = -(-records // trainer.batch_size)
    model = _compiled_model(config, trainer, len(names), steps * trainer.epochs)
    checkpoints = Checkpoints(_checkpoint_dir(fn_args, config))
    progress = checkpoints.restore(model)
    if trainer.init_from and not progress.epochs:
        initial_weights.load_into(model, names, trainer.init_from)
    feed = Feed(
        train_files, trainer.batch_size, trainer.shuffle_buffer, trainer.augmentation, trainer.seed
    )
    evaluation = feeding.evaluation_batches(eval_files, trainer.batch_size, graph)
    model.fit(
        feeding.training_batches(feed, graph, progress.epochs, trainer.epochs),
        steps_per_epoch=steps,
        epochs=trainer.epochs,
        initial_epoch=progress.epochs,
        callbacks=_callbacks(model, evaluation, checkpoints, progress, trainer.epochs),
        verbose=0,
    )
    if progress.best is not None:
        model.set_weights(progress.best)
    _finish(fn_args, config, model, graph, names, progress)
    run_record.write_checkpoints(fn_args.model_run_dir, str(checkpoints.root))


def _finish(
    fn_args: Any,
    config: dict[str, Any],
    model: keras.Model,
    graph: Graph,
    names: tuple[str, ...],
    progress: Progress,
) -> None:
    sample = tfrecords.first(_files(fn_args.eval_files), REPLAYABLE)
    images, _ = graph.apply(tf.constant(sample))
    logits = model.predict(images, batch_size=config["trainer"]["batch_size"], verbose=0)
    probabilities = tf.nn.softmax(logits, axis=-1)
    run_record.write(fn_args.model_run_dir, progress.history)
    run_record.write_predictions(fn_args.model_run_dir, np.asarray(probabilities))
    export(ServedModel(model, graph, names), fn_args.serving_model_dir, sample[:_WARMUP_BATCH])
    initial_weights.save(model, names, fn_args.serving_model_dir)


def _compiled_model(
    config: dict[str, Any], trainer: TrainerConfig, num_classes: int, total_steps: int
) -> keras.Model:
    model = build_vit(ViTConfig(**config["model"]), num_classes, trainer.seed)
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="top_1_accuracy")]
    if num_classes > TOP_K:
        metrics.append(
            keras.metrics.SparseTopKCategoricalAccuracy(TOP_K, name=f"top_{TOP_K}_accuracy")
        )
    model.compile(
        optimizer=build_optimizer(OptimizerConfig(**config["optimizer"]), total_steps, model),
        loss=SmoothedCrossEntropy(trainer.label_smoothing),
        metrics=metrics,
        jit_compile=trainer.jit_compile,
    )
    return model


def _callbacks(
    model: keras.Model,
    evaluation: tf.data.Dataset,
    checkpoints: Checkpoints,
    progress: Progress,
    epochs: int,
) -> list[keras.callbacks.Callback]:
    return [
        FiniteLoss(),
        StepProgress(epochs),
        EpochKeeper(evaluation, checkpoints, progress, epochs),
    ]


def _checkpoint_dir(fn_args: Any, config: dict[str, Any]) -> str:
    inputs = {name: value for name, value in config.items() if name != "checkpoint_dir"}
    key = checkpoint_key(
        config=inputs, graph=fn_args.transform_graph_path, examples=list(fn_args.train_files)
    )
    return os.path.join(config["checkpoint_dir"], key)


def _files(patterns: list[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))


def _class_names(schema_path: str) -> tuple[str, ...]:
    with tf.io.gfile.GFile(schema_path) as file:
        schema: schema_pb2.Schema = class_names.parse_schema(file.read())
    return class_names.class_names(schema)
