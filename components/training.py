"""The Trainer's `run_fn`: feeds, builds, trains and exports a Vision Transformer."""

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components import distribution, feeding, initial_weights, launch, run_record, tfrecords
from components.callbacks import EpochKeeper, FiniteLoss, StepProgress
from components.checkpoints import Checkpoints, Progress
from components.export import ServedModel, export
from components.settings import REPLAYABLE
from components.task import Setup, Task, set_up, starting_point, task_of

_WARMUP_BATCH = 8


def run_fn(fn_args: Any) -> None:
    """Trains on the `train` split, keeps the weights that are best on `eval`, exports.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds the sections `model`, `trainer`,
            `optimizer` (fields by name), `checkpoint_dir` and `initial_weights`, the digest of
            what `trainer.init_from` names, which makes other weights another training.

    Raises:
        UsageError: the training split is smaller than a batch, the weights to start from are
            missing or another model's, or the processes that should train together do not fit
            together.
        DataError: there is one class only.
        FloatingPointError: the loss is no longer finite.
    """
    task = task_of(fn_args)
    setup = set_up(task)
    model, progress = train(task, setup)
    if progress.best is not None:
        model.set_weights(progress.best)
    _finish(fn_args, task, setup, model, progress)
    run_record.write_checkpoints(fn_args.model_run_dir, task.checkpoints)


def train(task: Task, setup: Setup) -> tuple[keras.Model, Progress]:
    """Trains from the newest checkpoint on, on the devices that the settings name.

    Returns:
        The model as it is after the last epoch, and what was learnt on the way.

    Raises:
        As `run_fn`.
    """
    checkpoints = Checkpoints(task.checkpoints)
    if checkpoints.epochs < setup.trainer.epochs:
        _train_on_several(task, setup.trainer.strategy)
    model = setup.model(task.config)
    progress = starting_point(setup, model, checkpoints)
    _fit(task, setup, model, checkpoints, progress)
    return model, progress


def _train_on_several(task: Task, strategy: str) -> None:
    """Leaves the checkpoint of the last epoch, so that one device has nothing left to train."""
    if strategy == "multi_worker":
        launch.train_with_workers(task, Path(task.config["checkpoint_dir"]))
    elif strategy == "mirrored":
        distribution.train_mirrored(task)


def _fit(
    task: Task, setup: Setup, model: keras.Model, checkpoints: Checkpoints, progress: Progress
) -> None:
    trainer, graph = setup.trainer, setup.graph
    batches = feeding.evaluation_batches(task.eval_files, trainer.batch_size, graph)
    evaluate = functools.partial(model.evaluate, batches, return_dict=True, verbose=0)
    model.fit(
        feeding.training_batches(setup.feed, graph, progress.epochs, trainer.epochs),
        steps_per_epoch=setup.steps,
        epochs=trainer.epochs,
        initial_epoch=progress.epochs,
        shuffle=False,  # The stream is; Keras would warn that it cannot.
        callbacks=[
            FiniteLoss(),
            StepProgress(trainer.epochs),
            EpochKeeper(evaluate, checkpoints, progress, trainer.epochs),
        ],
        verbose=0,
    )


def _finish(fn_args: Any, task: Task, setup: Setup, model: keras.Model, progress: Progress) -> None:
    sample = tfrecords.first(task.eval_files, REPLAYABLE)
    images, _ = setup.graph.apply(tf.constant(sample))
    logits = model.predict(images, batch_size=setup.trainer.batch_size, verbose=0)
    probabilities = tf.nn.softmax(logits, axis=-1)
    run_record.write(fn_args.model_run_dir, progress.history)
    run_record.write_predictions(fn_args.model_run_dir, np.asarray(probabilities))
    served = ServedModel(model, setup.graph, setup.class_names)
    export(served, fn_args.serving_model_dir, sample[:_WARMUP_BATCH])
    initial_weights.save(model, setup.class_names, fn_args.serving_model_dir)
