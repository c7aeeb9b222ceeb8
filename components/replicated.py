"""Training on the replicas of a `tf.distribute` strategy, by a loop of our own.

Keras 3's `fit` and `evaluate` take means of means: parts of different sizes count alike, and
each replica clips its own gradient. On several workers `fit` of Keras 3.15 does not even begin:
it takes a distributed batch for a tensor. Here a record counts the same on whatever replica it
lies, so that the numbers are those of one device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
# A distributed stream: parts for all replicas of this process at each `next`.
Parts = Any


@dataclass(frozen=True)
class Split:
    """An endless stream of the parts of a split's batches, as `feeding` makes them."""

    parts: Parts
    records: int
    batch_size: int

    @property
    def sizes(self) -> list[int]:
        """Records of each whole batch of one pass."""
        full, rest = divmod(self.records, self.batch_size)
        return [self.batch_size] * full + [rest] * bool(rest)


@dataclass(frozen=True)
class Epochs:
    """Which epochs are trained: `first` .. `last` - 1."""

    first: int
    last: int


class Means:
    """Means over all records so far, by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._sums, self._records = names, np.zeros(len(names)), 0

    def add(self, means: np.ndarray, records: int) -> dict[str, float]:
        """Takes in the means of a batch; the means until now."""
        self._sums += np.asarray(means, np.float64) * records
        self._records += records
        values = self._sums / self._records
        return {name: float(value) for name, value in zip(self._names, values, strict=True)}


class Replicated:
    """A model that was compiled in the scope of a strategy.

    `metrics` are means over records; made anew, not those inside of the compiled model.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        metrics: Sequence[keras.metrics.Metric],
    ) -> None:
        self.model = model
        self._strategy, self._metrics = strategy, metrics
        self._names = ["loss", *(metric.name for metric in metrics)]
        self._gradients = tf.function(self._local_gradients, jit_compile=bool(model.jit_compile))
        self._train = self._on_replicas(self._train_step)
        self._test = self._on_replicas(self._test_step)

    def fit(
        self, split: Split, epochs: Epochs, callbacks: Sequence[keras.callbacks.Callback]
    ) -> None:
        """Trains, calling `callbacks` as Keras does."""
        calls = keras.callbacks.CallbackList(
            list(callbacks), model=self.model, epochs=epochs.last, steps=len(split.sizes)
        )
        parts = iter(split.parts)
        calls.on_train_begin()
        for epoch in range(epochs.first, epochs.last):
            calls.on_epoch_begin(epoch)
            means, logs = Means(self._names), {}
            for step, size in enumerate(split.sizes):
                calls.on_train_batch_begin(step)
                logs = means.add(self._train(next(parts)), size)
                calls.on_train_batch_end(step, logs)
            calls.on_epoch_end(epoch, logs)
        calls.on_train_end()

    def evaluate(self, split: Split) -> dict[str, float]:
        """Loss and metrics over one pass; every process has to call it."""
        parts, means, logs = iter(split.parts), Means(self._names), {}
        for size in split.sizes:
            logs = means.add(self._test(next(parts)), size)
        return logs

    def _on_replicas(self, step: Callable[..., tf.Tensor]) -> Callable[[Any], np.ndarray]:
        compiled = tf.function(
            lambda parts: self._strategy.run(step, args=parts), reduce_retracing=True
        )

        def run(parts: Any) -> np.ndarray:
            results = self._strategy.experimental_local_results(compiled(parts))
            # The same on all replicas: the step has summed it over them.
            array: np.ndarray = results[0].numpy()
            return array

        return run

    def _train_step(self, images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        gradients, loss, logits = self._gradients(images, labels, weights)
        optimizer, replicas = self.model.optimizer, self._strategy.num_replicas_in_sync
        if _judges_the_whole(optimizer):
            summed = _sum_over_replicas(gradients)
            gradients = [gradient / replicas for gradient in summed]
        # The optimizer sums what the replicas hand it.
        optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        return _sum_over_replicas(self._means(loss, labels, logits, weights))

    def _test_step(self, images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        logits = self.model(images, training=False)
        loss = self._loss(labels, logits, weights)
        return _sum_over_replicas(self._means(loss, labels, logits, weights))

    def _local_gradients(
        self, images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = self._loss(labels, logits, weights)
            scaled = self.model.optimizer.scale_loss(loss)
        variables = [variable.value for variable in self.model.trainable_variables]
        return tape.gradient(scaled, variables), loss, logits

    def _loss(self, labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(weights * self.model.loss.call(labels, logits))

    def _means(
        self, loss: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        """What these records add to the batch's means: weights are one over its size."""
        values = [loss]
        for metric in self._metrics:
            empty = [tf.zeros([]) for _ in metric.variables]
            total, _ = metric.stateless_update_state(empty, labels, logits, sample_weight=weights)
            values.append(total)
        return tf.stack(values)


def _judges_the_whole(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the optimizer looks at the gradient before it sums it over the replicas."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return scales or optimizer.global_clipnorm is not None


def _sum_over_replicas(values: Any) -> Any:
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)
