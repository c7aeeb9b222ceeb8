"""What the artifacts of a run say: verdicts, and what the report shows."""

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import contract, gate, records, run_record, serving_check, tfrecords
from components.evaluator import TOP_1
from components.settings import GateConfig
from pipeline.evaluation import Metrics
from pipeline.runner import Outputs

# isort: split
# After tfx, which puts in what it misses of tfx-bsl.
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2

Nodes = Mapping[str, Outputs]
_SAMPLES = 24
_SHOWN_PREDICTIONS = 3


def refusals(measured: Metrics, baseline: Metrics | None, config: GateConfig, k: int) -> list[str]:
    """Why the Evaluator did not bless a model, in words with figures."""
    name = f"top_{k}_accuracy"
    value, found = measured[name], []
    if value < config.top_k_accuracy:
        found.append(
            f"{name} {value:.4f} on split {config.split} is below the required "
            f"{config.top_k_accuracy:.4f}"
        )
    if baseline and value - baseline[name] < -config.max_regression:
        found.append(
            f"{name} {value:.4f} is more than {config.max_regression:.4f} below the "
            f"{baseline[name]:.4f} of the latest blessed model"
        )
    return found


def unseen_loss(measured: Metrics, baseline: Metrics | None, config: GateConfig) -> str | None:
    """Said where top-1 fell by more than the margin, and a gate on another k lets it pass."""
    if not baseline:
        return None
    fallen = baseline[TOP_1] - measured[TOP_1]
    if fallen <= config.max_regression:
        return None
    return (
        f"top-1 is {100 * fallen:.2f} points below the latest blessed model, which a gate on "
        f"top-{config.top_k} does not see; --set gate.top_k=1 would"
    )


def dropped_records(nodes: Nodes) -> list[dict[str, str]]:
    """What the gate left out."""
    path = os.path.join(_uri(nodes, "ValidationGate", "validated"), gate.DROPPED_FILE)
    return list(json.loads(_read(path)))


def check_result(nodes: Nodes) -> dict[str, Any]:
    """What the serving check found."""
    path = os.path.join(_uri(nodes, "ServingCheck", "blessing"), serving_check.RESULT_FILE)
    return dict(json.loads(_read(path)))


def history(nodes: Nodes) -> dict[str, list[float]]:
    """Curves of the training."""
    return run_record.read_history(_uri(nodes, "Trainer", "model_run"))


def anomalies(nodes: Nodes) -> list[dict[str, str]]:
    """What ExampleValidator found."""
    found = gate.read_anomalies(_uri(nodes, "ExampleValidator", "anomalies"))
    return [{"split": s, "feature": f, "reason": r} for s, f, r, _ in found]


def statistics(nodes: Nodes) -> list[dict[str, Any]]:
    """One row a split and feature."""
    artifacts = nodes["StatisticsGen"]["statistics"]
    rows = []
    for split in contract.SPLITS:
        path = os.path.join(artifact_utils.get_split_uri(artifacts, split), "FeatureStats.pb")
        data = tfdv.load_stats_binary(path).datasets[0]
        for feature in data.features:
            rows.append(
                {
                    "split": split,
                    "feature": feature.path.step[0],
                    "type": statistics_pb2.FeatureNameStatistics.Type.Name(feature.type),
                    "examples": int(data.num_examples),
                    "missing": int(_common(feature).num_missing),
                    "note": _note(feature),
                }
            )
    return rows


def _common(feature: Any) -> Any:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _note(feature: Any) -> str:
    kind = feature.WhichOneof("stats")
    if kind == "num_stats":
        numbers = feature.num_stats
        return f"{numbers.min:g} .. {numbers.max:g}, mean {numbers.mean:.3g}"
    if kind == "bytes_stats":
        stats = feature.bytes_stats
        return f"{stats.unique} distinct, {stats.avg_num_bytes:.0f} bytes on average"
    return f"{feature.string_stats.unique} distinct"


def samples(nodes: Nodes, names: tuple[str, ...], split: str) -> list[dict[str, Any]]:
    """Images of `split` with what the exported model says of them."""
    uri = artifact_utils.get_split_uri(nodes["ValidationGate"]["validated"], split)
    serialized = tfrecords.first(tfrecords.shard_paths(uri), _SAMPLES)
    model = tf.saved_model.load(path_utils.serving_model_path(_uri(nodes, "Trainer", "model")))
    answers = model.signatures["serving_default"](examples=tf.constant(serialized))
    classes, scores = answers["top_classes"].numpy(), answers["top_scores"].numpy()
    rows = []
    for position, item in enumerate(serialized):
        example = tf.train.Example.FromString(item)
        features = example.features.feature
        best = zip(classes[position], scores[position], strict=True)
        rows.append(
            {
                "image": tfrecords.encoded_image(example),
                "id": records.record_id(example, position),
                "label": names[features[contract.LABEL].int64_list.value[0]],
                "predictions": [(c.decode(), float(s)) for c, s in best][:_SHOWN_PREDICTIONS],
            }
        )
    return rows


def _uri(nodes: Nodes, node: str, output: str) -> str:
    uri: str = nodes[node][output][0].uri
    return uri


def _read(path: str) -> str:
    with tf.io.gfile.GFile(path) as file:
        text: str = file.read()
    return text
