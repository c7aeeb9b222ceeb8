"""Serialized examples: reading them from shards, and the image in one."""

import os
from collections.abc import Sequence

import tensorflow as tf

from components import contract


def shard_paths(split_uri: str) -> list[str]:
    """The TFRecord files of one split, sorted, which fixes the order of the records."""
    return sorted(tf.io.gfile.glob(os.path.join(split_uri, "*")))


def serialized(files: Sequence[str]) -> tf.data.Dataset:
    """Serialized examples of GZIP TFRecord files, in order."""
    return tf.data.TFRecordDataset(list(files), compression_type="GZIP")


def first(files: Sequence[str], number: int) -> list[bytes]:
    """The first `number` serialized examples of GZIP TFRecord files, or all if they are fewer."""
    return list(serialized(files).take(number).as_numpy_iterator())


def count(files: Sequence[str]) -> int:
    """Number of records."""
    batches = serialized(files).batch(4096).map(tf.size)
    return int(batches.reduce(0, lambda total, size: total + size))


def encoded_image(example: tf.train.Example | bytes) -> bytes:
    """The encoded image of an example that holds the contract, parsed or serialized."""
    if isinstance(example, bytes):
        example = tf.train.Example.FromString(example)
    value: bytes = example.features.feature[contract.IMAGE].bytes_list.value[0]
    return value
