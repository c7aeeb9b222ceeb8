"""The validation gate: bad data stop the run before anything expensive starts."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf
from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import class_names, contract, digests, records, tfrecords
from components.errors import DataError
from components.records import BadRecord
from components.settings import TransformConfig, ValidationConfig

DROPPED_FILE = "dropped_records.json"
_SHOWN = 20


@component
def ValidationGate(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    schema: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    validated: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples],
    max_bad_records: tfx.dsl.components.Parameter[int],
    max_pixels: tfx.dsl.components.Parameter[int],
    source_digest: tfx.dsl.components.Parameter[str],
) -> None:
    """Passes the examples on without the bad ones, or raises DataError."""
    num_classes = len(
        class_names.class_names(
            io_utils.SchemaReader().read(os.path.join(schema.uri, "schema.pbtxt"))
        )
    )
    shards = {
        split: tfrecords.shard_paths(artifact_utils.get_split_uri([examples], split))
        for split in contract.SPLITS
    }
    bad = [
        finding
        for split, paths in shards.items()
        for finding in records.find_bad_records(split, paths, num_classes, max_pixels)
    ]
    for finding in bad:
        logging.error("bad record: %s", finding)  # All of them, which no message would hold.
    judge(read_anomalies(anomalies.uri), bad, max_bad_records)
    _require_records(shards, bad)
    for split, paths in shards.items():
        positions = {finding.position for finding in bad if finding.split == split}
        _pass_on(paths, positions, os.path.join(validated.uri, f"Split-{split}"))
    _describe(examples, validated, bad)


class Anomaly(NamedTuple):
    """What statistics say against a split."""

    split: str
    feature: str
    reason: str
    of_records: bool  # whether single records can be the cause; drift and skew are of the whole


def read_anomalies(uri: str) -> list[Anomaly]:
    """Everything that ExampleValidator found."""
    found = []
    for split in contract.SPLITS:
        message = anomalies_pb2.Anomalies()
        with fileio.open(os.path.join(uri, f"Split-{split}", "SchemaDiff.pb"), "rb") as file:
            message.ParseFromString(file.read())
        found += [
            Anomaly(
                split,
                feature,
                f"{info.short_description}: {info.description}",
                not any(_is_comparison(reason) for reason in info.reason),
            )
            for feature, info in sorted(message.anomaly_info.items())
        ]
        if message.HasField("dataset_anomaly_info"):
            text = message.dataset_anomaly_info.description
            found.append(Anomaly(split, "the whole split", text, False))
    return found


def _is_comparison(reason: anomalies_pb2.AnomalyInfo.Reason) -> bool:
    name: str = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
    return name.startswith("COMPARATOR_")


def judge(anomalies: Sequence[Anomaly], bad: Sequence[BadRecord], max_bad_records: int) -> None:
    """Decides whether the data may pass.

    An anomaly whose feature has bad records in the same split is theirs, if records can cause
    it: it goes when they are dropped. Any other stands for the split as a whole.

    Raises:
        DataError: names split, feature and reason of each anomaly and bad record.
    """
    theirs = {(finding.split, finding.feature) for finding in bad}
    standing = [item for item in anomalies if not item.of_records or item[:2] not in theirs]
    if not standing and len(bad) <= max_bad_records:
        return
    lines = [f"split {item.split}, feature {item.feature}: {item.reason}" for item in standing]
    if len(bad) > max_bad_records:
        lines += _bad_lines(bad, max_bad_records)
    raise DataError("the data were refused before Transform\n" + "\n".join(lines))


def _bad_lines(bad: Sequence[BadRecord], allowed: int) -> list[str]:
    counts = Counter((finding.split, finding.feature) for finding in bad)
    lines = [
        f"split {split}, feature {feature}: {count} bad record{'s' if count > 1 else ''}"
        for (split, feature), count in counts.items()
    ]
    lines.append(
        f"{len(bad)} bad in all, {allowed} allowed; mend them, or allow them to be "
        f"dropped with --max-bad-records {len(bad)}"
    )
    lines += [f"  {finding}" for finding in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        lines.append(f"  and {len(bad) - _SHOWN} more, each a line 'bad record:' in the log")
    return lines


def _require_records(shards: Mapping[str, Sequence[str]], bad: Sequence[BadRecord]) -> None:
    """Raises DataError for a split that has no record, or none that is left."""
    dropped = Counter(finding.split for finding in bad)
    for split, paths in shards.items():
        if len(tfrecords.first(paths, dropped[split] + 1)) <= dropped[split]:
            raise DataError(
                f"the data were refused before Transform\nsplit {split}: expected records, got "
                + (f"{dropped[split]}, all of them bad" if dropped[split] else "none")
            )


def _pass_on(paths: Sequence[str], bad_positions: set[int], target: str) -> None:
    """Links shards (or copies, where the file system has no links); rewrites if some are bad."""
    fileio.makedirs(target)
    if not bad_positions:
        for path in paths:
            _link(path, os.path.join(target, os.path.basename(path)))
        return
    position = 0
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for path in paths:
        with tf.io.TFRecordWriter(os.path.join(target, os.path.basename(path)), options) as writer:
            for batch in records.read_shards([path]):
                for record in batch:
                    if position not in bad_positions:
                        writer.write(record)
                    position += 1


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        fileio.copy(source, target)


def _describe(examples: object, validated: object, bad: Sequence[BadRecord]) -> None:
    validated.split_names = examples.split_names  # type: ignore[attr-defined]
    validated.span = examples.span  # type: ignore[attr-defined]
    for key in ("file_format", "payload_format"):
        value = examples.get_string_custom_property(key)  # type: ignore[attr-defined]
        validated.set_string_custom_property(key, value)  # type: ignore[attr-defined]
    dropped = [{"split": b.split, "id": b.id, "reason": f"{b.feature}: {b.reason}"} for b in bad]
    with fileio.open(os.path.join(validated.uri, DROPPED_FILE), "w") as file:  # type: ignore[attr-defined]
        file.write(json.dumps(dropped, indent=1))


def validation_gate(
    examples: tfx.types.BaseChannel,
    anomalies: tfx.types.BaseChannel,
    schema: tfx.types.BaseChannel,
    config: ValidationConfig,
    transform: TransformConfig,
) -> tfx.types.BaseChannel:
    """The node between ExampleValidator and Transform."""
    return ValidationGate(
        examples=examples,
        anomalies=anomalies,
        schema=schema,
        max_bad_records=config.max_bad_records,
        max_pixels=transform.max_pixels,
        source_digest=digests.source_digest(__name__),
    )
