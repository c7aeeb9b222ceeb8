"""What tests of the stages share: images, records and shards."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from components import contract

CLASSES = ("red", "green", "blue", "gray", "black", "white", "pink")
SIZE = 32
MAX_PIXELS = 4096
# Of `good_records`, the first ones: the graph's statistics are theirs.
GRAPH_IMAGES = 4


def encode(pixels: np.ndarray, kind: str = "PNG", mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def random_pixels(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def example(name: str | None, image: bytes | None, label: int | bytes | list[int] | None) -> bytes:
    """A serialized tf.Example; None leaves a feature out, bytes make a label of another type."""
    feature = {}
    if name is not None:
        feature[contract.ID] = _bytes(name.encode())
    if image is not None:
        feature[contract.IMAGE] = _bytes(image)
    if isinstance(label, bytes):
        feature[contract.LABEL] = _bytes(label)
    elif label is not None:
        values = label if isinstance(label, list) else [label]
        feature[contract.LABEL] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return bytes(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def image_of(record: bytes) -> bytes:
    features = tf.train.Example.FromString(record).features.feature
    return bytes(features[contract.IMAGE].bytes_list.value[0])


def good_records(count: int, first: int = 0) -> list[bytes]:
    """Records of PNG images at the model's size, ids `id-N`, labels in turn."""
    return [
        example(f"id-{number}", encode(random_pixels(number)), number % len(CLASSES))
        for number in range(first, first + count)
    ]


def write_shard(path: Path, records: Sequence[bytes], compression: str = "GZIP") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def read_ids(path: str | Path) -> list[str]:
    """The ids in a GZIP shard, in order."""
    return [
        tf.train.Example.FromString(record)
        .features.feature[contract.ID]
        .bytes_list.value[0]
        .decode()
        for record in tf.data.TFRecordDataset([str(path)], "GZIP").as_numpy_iterator()
    ]
