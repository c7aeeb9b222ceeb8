"""Trains a task on several devices, here or with other processes, up to its last checkpoint."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from components import feeding, tfrecords
from components.callbacks import EpochKeeper, EvaluationOnly, FiniteLoss, StepProgress
from components.checkpoints import Checkpoints, Progress
from components.cluster import Cluster
from components.errors import UsageError
from components.feeding import Share
from components.preconditions import require_enough_for
from components.replicated import Epochs, Replicated, Split
from components.task import Setup, Task, metrics, set_up, starting_point


def devices() -> list[str]:
    """The GPUs of this machine, or else its CPUs: one, if TensorFlow was not told otherwise."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def train_mirrored(task: Task) -> None:
    """Trains on all devices of this machine; does nothing where there is only one."""
    names = devices()
    if len(names) > 1:
        _train(task, tf.distribute.MirroredStrategy(names), None)


def train_as_worker(read_task: Callable[[], Task], cluster: Cluster) -> None:
    """Trains as one of the processes of TF_CONFIG; TensorFlow must not have done anything yet.

    Args:
        read_task: called once all processes have met.
        cluster: the parsed TF_CONFIG.

    Raises:
        UsageError: the processes do not train the same, or from the same checkpoint.
        FloatingPointError: the loss is no longer finite.
    """
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    _train(read_task(), strategy, cluster)


def _train(task: Task, strategy: tf.distribute.Strategy, cluster: Cluster | None) -> None:
    setup, replicas = set_up(task), strategy.num_replicas_in_sync
    require_enough_for(replicas, setup.trainer.batch_size)
    with strategy.scope():
        model = setup.model(_share_of_the_norm(task.config, replicas))
        model.optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(task.checkpoints)
    progress = starting_point(setup, model, checkpoints)
    _require_agreement(strategy, cluster, task, progress)
    replicated = Replicated(strategy, model, metrics(len(setup.class_names)))
    training, evaluation = _splits(task, setup, strategy, progress)
    evaluate = functools.partial(replicated.evaluate, evaluation)
    callbacks: list[keras.callbacks.Callback] = [FiniteLoss(), EvaluationOnly(evaluate)]
    epochs = Epochs(progress.epochs, setup.trainer.epochs)
    if cluster is None or cluster.is_chief:
        keeper = EpochKeeper(evaluate, checkpoints, progress, epochs.last)
        callbacks = [FiniteLoss(), StepProgress(epochs.last), keeper]
    replicated.fit(training, epochs, callbacks)
    # Nobody leaves before the chief has written the last checkpoint.
    _gather(strategy, [0])


def _share_of_the_norm(config: dict[str, Any], replicas: int) -> dict[str, Any]:
    """Each replica hands the optimizer its share of the gradient: so the limit is one, too."""
    optimizer = config["optimizer"]
    limit = optimizer.get("clipnorm", 0.0) / replicas
    return {**config, "optimizer": {**optimizer, "clipnorm": limit}}


def _splits(
    task: Task, setup: Setup, strategy: tf.distribute.Strategy, progress: Progress
) -> tuple[Split, Split]:
    batch_size, graph = setup.trainer.batch_size, setup.graph

    def training(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return feeding.training_shares(setup.feed, graph, progress.epochs, _share(context))

    def evaluation(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return feeding.evaluation_shares(task.eval_files, batch_size, graph, _share(context))

    distribute = strategy.distribute_datasets_from_function
    eval_records = tfrecords.count(task.eval_files)
    return (
        Split(distribute(training), setup.records, batch_size),
        Split(distribute(evaluation), eval_records, batch_size),
    )


def _share(context: tf.distribute.InputContext) -> Share:
    count = context.num_replicas_in_sync // context.num_input_pipelines
    return Share(context.num_replicas_in_sync, context.input_pipeline_id * count, count)


def _require_agreement(
    strategy: tf.distribute.Strategy, cluster: Cluster | None, task: Task, progress: Progress
) -> None:
    if cluster is None:
        return
    text = json.dumps(dataclasses.asdict(task), sort_keys=True)
    fingerprint = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
    tasks, epochs = zip(*_gather(strategy, [fingerprint, progress.epochs]), strict=True)
    if len(set(tasks)) > 1:
        raise UsageError("the processes of TF_CONFIG train different tasks: start them all again")
    if len(set(epochs)) > 1:
        raise UsageError(
            f"the processes of TF_CONFIG found checkpoints of {sorted(set(epochs))} epochs: "
            f"{task.checkpoints} must be the same folder on all machines"
        )


def _gather(strategy: tf.distribute.Strategy, values: list[int]) -> list[list[int]]:
    """The values (N) of every replica, (replicas, N); returns when all have called."""

    @tf.function
    def gather() -> tf.Tensor:
        def local() -> tf.Tensor:
            row = tf.constant([values], tf.int64)
            return tf.distribute.get_replica_context().all_gather(row, axis=0)

        return strategy.run(local)

    rows: list[list[int]] = strategy.experimental_local_results(gather())[0].numpy().tolist()
    return rows
