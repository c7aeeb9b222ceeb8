"""From shards of encoded images to batches for the model.

The order of the images, and what augmentation does to them, follow from the seed and the
number of the epoch alone: a run that resumes after epoch 7 sees in epoch 8 what it would
have seen undisturbed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf
import tensorflow_transform as tft

from components import augment, contract, tfrecords

Features = dict[str, tf.Tensor]


@dataclass(frozen=True)
class Graph:
    """The transform graph, ready to be applied to serialized examples."""

    output: tft.TFTransformOutput
    layer: Callable[[Features], Features]

    def apply(self, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(B,) serialized examples -> images (B, S, S, 3) float32, labels (B,) int64."""
        features = tf.io.parse_example(serialized, self.output.raw_feature_spec())
        transformed = self.layer(features)
        return transformed[contract.IMAGE], transformed[contract.LABEL]


def load_graph(path: str) -> Graph:
    """Loads the graph that Transform wrote under `path`."""
    output = tft.TFTransformOutput(path)
    return Graph(output, output.transform_features_layer())


@dataclass(frozen=True)
class Feed:
    """What a training stream is made of."""

    files: Sequence[str]
    batch_size: int
    shuffle_buffer: int
    augmentation: str
    seed: int


@dataclass(frozen=True)
class Share:
    """The replicas of one process among all `replicas`: `count` of them from `first` on."""

    replicas: int
    first: int
    count: int


def training_batches(feed: Feed, graph: Graph, first_epoch: int, epochs: int) -> tf.data.Dataset:
    """Batches of the epochs `first_epoch` .. `epochs` - 1, one after the other.

    Each epoch passes once over all records; its last batch may be smaller.

    Yields:
        (images (B, S, S, 3) float32, labels (B,) int64)
    """

    def prepare(epoch: tf.Tensor, step: tf.Tensor, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = graph.apply(batch)
        return augment.augment(images, feed.augmentation, _seed(feed, epoch, step)), labels

    # One epoch more than is asked for: Keras warns where a stream ends with the last step.
    stream = _serialized_batches(feed, first_epoch, epochs + 1)
    return stream.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def training_shares(feed: Feed, graph: Graph, first_epoch: int, share: Share) -> tf.data.Dataset:
    """What the replicas of a share see of the batches of `training_batches`; it never ends.

    For each batch one part a replica. Together the replicas see exactly that batch, augmented
    alike. Every process reads and shuffles all encoded records, and decodes only its own.

    Yields:
        (images (N, S, S, 3) float32, labels (N,) int64, weights (N,) float32). A weight is one
        over the size of the whole batch; 0 for a record that only fills an empty part.
    """

    def parts(epoch: tf.Tensor, step: tf.Tensor, batch: tf.Tensor) -> tf.data.Dataset:
        return _replicas(share).map(lambda replica: (epoch, step, *_part(batch, replica, share)))

    def prepare(
        epoch: tf.Tensor, step: tf.Tensor, part: tf.Tensor, weights: tf.Tensor, place: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, labels = graph.apply(part)
        seed = _seed(feed, epoch, step)
        images = augment.augment(images, feed.augmentation, seed, (place[0], place[1]))
        return images, labels, weights

    stream = _serialized_batches(feed, first_epoch, tf.int64.max).flat_map(parts)
    return _endless(stream.map(prepare, num_parallel_calls=tf.data.AUTOTUNE))


def _serialized_batches(feed: Feed, first_epoch: int, end: int) -> tf.data.Dataset:
    """(epoch, step, (B,) serialized examples) of the epochs before `end`."""

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        records = tfrecords.serialized(feed.files).shuffle(
            feed.shuffle_buffer, seed=feed.seed * 1_000_003 + epoch, reshuffle_each_iteration=False
        )
        return records.batch(feed.batch_size).enumerate().map(lambda step, r: (epoch, step, r))

    return tf.data.Dataset.range(first_epoch, end).flat_map(epoch_batches)


def _seed(feed: Feed, epoch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    return tf.stack([feed.seed * 1_000_003 + epoch, step])


def _replicas(share: Share) -> tf.data.Dataset:
    return tf.data.Dataset.range(share.first, share.first + share.count)


def _part(
    batch: tf.Tensor, replica: tf.Tensor, share: Share
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A replica's part of a batch, its weights, and (its first index, size of the batch)."""
    total = tf.size(batch, tf.int64)
    first, end = replica * total // share.replicas, (replica + 1) * total // share.replicas
    weight = tf.where(end > first, 1 / tf.cast(total, tf.float32), 0.0)
    # TensorFlow has no gradient of a convolution of no images.
    first = tf.minimum(first, total - 1)
    end = tf.maximum(end, first + 1)
    return batch[first:end], tf.fill([end - first], weight), tf.cast([first, total], tf.int32)


def _endless(stream: tf.data.Dataset) -> tf.data.Dataset:
    """Says that a stream never ends: else the replicas ask each other at each step."""
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return stream.apply(endless).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(files: Sequence[str], batch_size: int, graph: Graph) -> tf.data.Dataset:
    """All records once, in order, not augmented; batches as in `training_batches`."""
    # Keras warns of a stream that ends unannounced.
    size = tf.data.experimental.assert_cardinality(-(-tfrecords.count(files) // batch_size))
    batches = tfrecords.serialized(files).batch(batch_size).apply(size)
    return batches.map(graph.apply, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)


def evaluation_shares(
    files: Sequence[str], batch_size: int, graph: Graph, share: Share
) -> tf.data.Dataset:
    """What a share sees of the batches of `evaluation_batches`, over and over."""

    def parts(batch: tf.Tensor) -> tf.data.Dataset:
        return _replicas(share).map(lambda replica: _part(batch, replica, share)[:2])

    def prepare(part: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return (*graph.apply(part), weights)

    stream = tfrecords.serialized(files).batch(batch_size).repeat().flat_map(parts)
    return _endless(stream.map(prepare, num_parallel_calls=tf.data.AUTOTUNE))
