"""ImportExampleGen: TFRecords of three splits, whoever wrote them."""

from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes
from google.protobuf.wrappers_pb2 import StringValue
from tfx import v1 as tfx
from tfx.components.example_gen import base_example_gen_executor
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2

from components import digests

GZIP_MAGIC = b"\x1f\x8b"


class _ImportExecutor(base_example_gen_executor.BaseExampleGenExecutor):
    """Reads TFRecord files, telling gzip by content.

    The stock executor goes by the file's ending, and TFDS's shard names have none.
    """

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        return _read_examples


@beam.ptransform_fn
def _read_examples(
    pipeline: beam.Pipeline, exec_properties: Mapping[str, Any], split_pattern: str
) -> beam.PCollection:
    paths = fileio.glob(f"{exec_properties['input_base']}/{split_pattern}")
    packed = [path for path in paths if _is_gzip(path)]
    plain = [path for path in paths if path not in set(packed)]
    parts = [
        pipeline
        | f"List{kind}" >> beam.Create(files)
        | f"Read{kind}" >> beam.io.ReadAllFromTFRecord(compression_type=kind)
        for kind, files in ((CompressionTypes.GZIP, packed), (CompressionTypes.UNCOMPRESSED, plain))
    ]
    return parts | beam.Flatten() | beam.Map(tf.train.Example.FromString)


def _is_gzip(path: str) -> bool:
    with fileio.open(path, "rb") as file:
        return bool(file.read(2) == GZIP_MAGIC)


class ImportExampleGen(FileBasedExampleGen):
    """The stock component of that name with our reader."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(_ImportExecutor)


def import_examples(input_base: str, patterns: Mapping[str, str]) -> ImportExampleGen:
    """The node that brings a data set into the pipeline.

    Args:
        input_base: the data set's folder.
        patterns: for each split, a pattern relative to `input_base`.
    """
    splits: Sequence[Any] = [
        tfx.proto.Input.Split(name=name, pattern=pattern) for name, pattern in patterns.items()
    ]
    source = StringValue(value=digests.source_digest(__name__))
    custom = example_gen_pb2.CustomConfig()
    custom.custom_config.Pack(source)
    return ImportExampleGen(
        input_base=input_base,
        input_config=tfx.proto.Input(splits=splits),
        custom_config=custom,
    )
