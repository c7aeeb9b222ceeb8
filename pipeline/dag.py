"""The one DAG: from TFRecords to a pushed model, in the order of the data's way."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfx import v1 as tfx

from components import digests
from components.baseline import baseline
from components.evaluator import evaluator
from components.examples import import_examples
from components.gate import validation_gate
from components.pusher import Target, pusher
from components.schema import reviewed_schema
from components.serving_check import serving_check
from components.statistics import statistics
from components.trainer import trainer
from components.transform import transform
from components.validator import validator
from pipeline.config import RunConfig

NAME = "vitpipe"
# The runner is named outright: the default one first tries to download another. In one
# process: TFDV 1.16, the newest for older glibc, cannot be imported in Beam's workers.
BEAM_ARGUMENTS = ("--runner=FnApiRunner", "--direct_running_mode=in_memory")


@dataclass(frozen=True)
class Inputs:
    """What a run works on, besides its configuration.

    `patterns` are relative to `data_dir`, one a split; `missing` names pushed versions that
    are gone; `initial_weights` is the digest of what `trainer.init_from` names.
    """

    data_dir: str
    patterns: Mapping[str, str]
    class_names: tuple[str, ...]
    data_digest: str
    checkpoint_dir: str
    model_dir: str
    missing: str = ""
    initial_weights: str = ""


def build_nodes(config: RunConfig, inputs: Inputs) -> list[Any]:
    """The nodes of the DAG in the order of the data's way."""
    examples = import_examples(inputs.data_dir, inputs.patterns)
    stats = statistics(examples.outputs["examples"])
    schema = reviewed_schema(inputs.class_names, config.validation)
    anomalies = validator(stats.outputs["statistics"], schema.outputs["schema"])
    gate = validation_gate(
        examples.outputs["examples"],
        anomalies.outputs["anomalies"],
        schema.outputs["schema"],
        config.validation,
        config.transform,
    )
    validated = gate.outputs["validated"]
    graph = transform(
        validated, schema.outputs["schema"], config.model.image_size, config.transform
    )
    training = trainer(
        validated,
        graph.outputs["transform_graph"],
        schema.outputs["schema"],
        _training_settings(config, inputs),
    )
    model = training.outputs["model"]
    latest = baseline(model)
    evaluation = evaluator(
        validated, model, latest.outputs["model"], config.gate, len(inputs.class_names)
    )
    check = serving_check(model, training.outputs["model_run"], validated, config.serving_check)
    # Nothing flows between them: only so that a run tells them in this order.
    check.add_upstream_node(evaluation)
    push = pusher(
        model,
        evaluation.outputs["blessing"],
        check.outputs["blessing"],
        Target(inputs.model_dir, config.pusher, run_digests(config, inputs), inputs.missing),
    )
    return [
        examples,
        stats,
        schema,
        anomalies,
        gate,
        graph,
        training,
        latest,
        evaluation,
        check,
        push,
    ]


def _training_settings(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    sections = {
        name: dataclasses.asdict(getattr(config, name))
        for name in ("model", "trainer", "optimizer")
    }
    values: dict[str, Any] = json.loads(json.dumps(sections))
    return {
        **values,
        "checkpoint_dir": inputs.checkpoint_dir,
        "initial_weights": inputs.initial_weights,
    }


STAGE_MODULES = (
    "components.examples",
    "components.schema",
    "components.gate",
    "components.preprocessing",
    "components.training",
    "components.baseline",
    "components.evaluator",
    "components.serving_check",
    "components.pusher",
)


def run_digests(config: RunConfig, inputs: Inputs) -> dict[str, str]:
    """Digests of data, code and configuration, and of the weights it started from, if any."""
    import hashlib

    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    code = "".join(digests.source_digest(module) for module in STAGE_MODULES)
    found = {
        "data": inputs.data_digest,
        "code": hashlib.sha256(code.encode()).hexdigest(),
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "initial_weights": inputs.initial_weights,
    }
    return {name: value for name, value in found.items() if value}


def build_pipeline(
    config: RunConfig, inputs: Inputs, root: str, metadata_path: str
) -> tfx.dsl.Pipeline:
    """The pipeline for a run on this machine.

    Args:
        config: the settings of all stages.
        inputs: the data set and the places.
        root: folder of the artifacts.
        metadata_path: SQLite file of ML Metadata.
    """
    return tfx.dsl.Pipeline(
        pipeline_name=NAME,
        pipeline_root=root,
        components=build_nodes(config, inputs),
        enable_cache=True,
        metadata_connection_config=(
            tfx.orchestration.metadata.sqlite_metadata_connection_config(metadata_path)
        ),
        beam_pipeline_args=list(BEAM_ARGUMENTS),
    )
