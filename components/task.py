"""One training: what goes into it, and what every process that takes part makes of that."""

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from components import class_names, feeding, initial_weights, tfrecords
from components import progress as reporting
from components.checkpoints import Checkpoints, Progress, checkpoint_key
from components.feeding import Feed, Graph
from components.preconditions import require_trainable
from components.settings import TrainerConfig
from models import fusion
from models.losses import SmoothedCrossEntropy
from models.optim import OptimizerConfig, build_optimizer
from models.vit import ViTConfig, build_vit

TOP_K = 5
# What the encoded images to shuffle among may take in memory.
_SHUFFLE_BYTES = 2**30


@dataclass(frozen=True)
class Task:
    """All that a training depends on, in plain values, and where its checkpoints lie."""

    train_files: list[str]
    eval_files: list[str]
    transform_graph: str
    schema: str
    config: dict[str, Any]
    checkpoints: str

    def write(self, path: Path) -> None:
        """Writes it for other processes, who never see half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f"{path.name}.{os.getpid()}")
        staging.write_text(json.dumps(dataclasses.asdict(self)))
        staging.rename(path)


def read_task(path: Path) -> Task:
    """The task that `Task.write` wrote."""
    return Task(**json.loads(path.read_text()))


def task_of(fn_args: Any) -> Task:
    """The task that TFX's FnArgs describe; `custom_config` as `training.run_fn` takes it."""
    config = fn_args.custom_config
    inputs = {name: value for name, value in config.items() if name != "checkpoint_dir"}
    key = checkpoint_key(
        config=inputs, graph=fn_args.transform_graph_path, examples=list(fn_args.train_files)
    )
    return Task(
        train_files=_files(fn_args.train_files),
        eval_files=_files(fn_args.eval_files),
        transform_graph=fn_args.transform_graph_path,
        schema=fn_args.schema_path,
        config=config,
        checkpoints=os.path.join(config["checkpoint_dir"], key),
    )


@dataclass(frozen=True)
class Setup:
    """What a process loads before it builds the model."""

    trainer: TrainerConfig
    class_names: tuple[str, ...]
    graph: Graph
    feed: Feed
    records: int

    @property
    def steps(self) -> int:
        """Steps an epoch; the last one may be smaller."""
        return -(-self.records // self.trainer.batch_size)

    def model(self, config: dict[str, Any]) -> keras.Model:
        """The compiled model, as yet untrained, from a task's `config`."""
        total_steps = self.steps * self.trainer.epochs
        return compiled_model(config, self.trainer, len(self.class_names), total_steps)


def set_up(task: Task) -> Setup:
    """Loads what a task names, and sets the process's seed and precision.

    Raises:
        UsageError: the training split is smaller than a batch.
        DataError: there is one class only.
    """
    trainer = TrainerConfig(**task.config["trainer"])
    names = _class_names(task.schema)
    graph = feeding.load_graph(task.transform_graph)
    keras.utils.set_random_seed(trainer.seed)
    keras.config.set_dtype_policy(trainer.precision)
    records = tfrecords.count(task.train_files)
    require_trainable(records, trainer.batch_size, len(names))
    feed = Feed(
        task.train_files,
        trainer.batch_size,
        _shuffle_buffer(trainer.shuffle_buffer, task.train_files, records),
        trainer.augmentation,
        trainer.seed,
    )
    return Setup(trainer, names, graph, feed, records)


def _shuffle_buffer(wanted: int, files: list[str], records: int) -> int:
    """Fewer than wanted where these would not fit into memory, as of photographs."""
    size = sum(tf.io.gfile.stat(path).length for path in files)
    fitting = max(1, _SHUFFLE_BYTES * records // max(size, 1))
    if fitting >= min(wanted, records):
        return wanted
    held = f"these fill {_SHUFFLE_BYTES >> 20} MiB"
    reporting.emit("note", text=f"shuffles among {fitting} images, not {wanted}: {held}")
    return fitting


def starting_point(setup: Setup, model: keras.Model, checkpoints: Checkpoints) -> Progress:
    """Puts the newest checkpoint into a model; before the first, what `trainer.init_from` names.

    Raises:
        UsageError: the weights to start from are missing or another model's.
    """
    progress = checkpoints.restore(model)
    if setup.trainer.init_from and not progress.epochs:
        initial_weights.load_into(model, setup.class_names, setup.trainer.init_from)
    return progress


def metrics(num_classes: int) -> list[keras.metrics.Metric]:
    """Means over images that are kept of each epoch."""
    found: list[keras.metrics.Metric] = [
        keras.metrics.SparseCategoricalAccuracy(name="top_1_accuracy")
    ]
    if num_classes > TOP_K:
        found.append(
            keras.metrics.SparseTopKCategoricalAccuracy(TOP_K, name=f"top_{TOP_K}_accuracy")
        )
    return found


def compiled_model(
    config: dict[str, Any], trainer: TrainerConfig, num_classes: int, total_steps: int
) -> keras.Model:
    """The model with its initial weights, its optimizer and its loss.

    What is traced from then on in this process has the chains compiled that `trainer` says.

    Args:
        config: the sections `model` and `optimizer`, fields by name.
        trainer: the section `trainer`.
        num_classes: outputs.
        total_steps: of the whole training; the learning rate follows from it.
    """
    fusion.set_compiler(_compile if trainer.xla == "chains" else None)
    model = build_vit(ViTConfig(**config["model"]), num_classes, trainer.seed)
    model.compile(
        optimizer=build_optimizer(OptimizerConfig(**config["optimizer"]), total_steps, model),
        loss=SmoothedCrossEntropy(trainer.label_smoothing),
        metrics=metrics(num_classes),
        jit_compile=trainer.xla == "step",
    )
    return model


def _compile(chain: Callable[..., Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = tf.function(chain, jit_compile=True, autograph=False)
    return compiled


def _files(patterns: list[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))


def _class_names(schema_path: str) -> tuple[str, ...]:
    with tf.io.gfile.GFile(schema_path) as file:
        schema: schema_pb2.Schema = class_names.parse_schema(file.read())
    return class_names.class_names(schema)
