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


def training_batches(feed: Feed, graph: Graph, first_epoch: int, epochs: int) -> tf.data.Dataset:
    """Batches of the epochs `first_epoch` .. `epochs` - 1, one after the other.

    Each epoch passes once over all records; its last batch may be smaller.

    Yields:
        (images (B, S, S, 3) float32, labels (B,) int64)
    """

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        records = tfrecords.serialized(feed.files).shuffle(
            feed.shuffle_buffer, seed=feed.seed * 1_000_003 + epoch, reshuffle_each_iteration=False
        )
        return records.batch(feed.batch_size).enumerate().map(lambda step, r: (epoch, step, r))

    def prepare(epoch: tf.Tensor, step: tf.Tensor, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = graph.apply(batch)
        seed = tf.stack([feed.seed * 1_000_003 + epoch, step])
        return augment.augment(images, feed.augmentation, seed), labels

    # One epoch more than is asked for: Keras warns where a stream ends with the last step.
    stream = tf.data.Dataset.range(first_epoch, epochs + 1).flat_map(epoch_batches)
    return stream.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(files: Sequence[str], batch_size: int, graph: Graph) -> tf.data.Dataset:
    """All records once, in order, not augmented; batches as in `training_batches`."""
    # Keras warns of a stream that ends unannounced.
    size = tf.data.experimental.assert_cardinality(-(-tfrecords.count(files) // batch_size))
    batches = tfrecords.serialized(files).batch(batch_size).apply(size)
    return batches.map(graph.apply, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)
