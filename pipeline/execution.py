"""Runs the DAG in this process and reads what came out of it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components import evaluator, run_record, versions
from components.checkpoints import Checkpoints
from pipeline import dag, metadata, outcome
from pipeline.config import RunConfig
from pipeline.evaluation import Evaluation, model_names
from pipeline.report import Evidence, write_report
from pipeline.runner import ObservedDagRunner, Outputs


@dataclass(frozen=True)
class Job:
    """Everything that a run of the DAG needs."""

    config: RunConfig
    inputs: dag.Inputs
    artifacts: str
    metadata: str
    run_id: str


class Execution:
    """One run of the DAG; what can be said of it grows with the components that ended."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._runner = ObservedDagRunner(job.run_id)
        self._versions_before = set(versions.list_versions(Path(job.inputs.model_dir)))

    def run(self) -> None:
        """Runs all components; raises what a failing one raised."""
        job = self._job
        Path(job.artifacts).mkdir(parents=True, exist_ok=True)
        pipeline = dag.build_pipeline(job.config, job.inputs, job.artifacts, job.metadata)
        self._runner.run(pipeline)

    @property
    def _nodes(self) -> dict[str, Outputs]:
        return {node.name: node.outputs for node in self._runner.nodes if node.outputs}

    @cached_property
    def _evaluation(self) -> Evaluation:
        """The candidate's; to be asked for after the Evaluator ended."""
        outputs = self._nodes["Evaluator"]
        candidate, _ = model_names(outputs["blessing"][0])
        return Evaluation(outputs["evaluation"][0].uri, candidate)

    def remove_checkpoints(self) -> None:
        """Removes the states of this run's training, which a finished Trainer leaves unneeded.

        Not in the Trainer: until its artifacts are in the metadata they are all there is.
        """
        if "Trainer" in self._nodes:
            uri = self._nodes["Trainer"]["model_run"][0].uri
            Checkpoints(run_record.read_checkpoints(uri)).remove()

    def facts(self) -> dict[str, Any]:
        """The part of the summary that the artifacts tell."""
        nodes = self._nodes
        facts: dict[str, Any] = {
            "digests": dag.run_digests(self._job.config, self._job.inputs),
            "dropped": outcome.dropped_records(nodes) if "ValidationGate" in nodes else [],
            "refusals": [],
            "pushed_path": None,
        }
        if "Evaluator" in nodes:
            facts |= self._verdict(nodes)
        if "ServingCheck" in nodes:
            result = outcome.check_result(nodes)
            facts["serving_check"] = result
            if not result["ok"]:
                facts["refusals"].append(f"the serving check failed: {result['message']}")
        if "Pusher" in nodes:
            facts |= self._pushed(nodes["Pusher"]["pushed_model"][0])
        return facts

    def _verdict(self, nodes: dict[str, Outputs]) -> dict[str, Any]:
        gate, classes = self._job.config.gate, len(self._job.inputs.class_names)
        k = evaluator.gate_k(gate, classes)
        blessing = nodes["Evaluator"]["blessing"][0]
        uri = nodes["Evaluator"]["evaluation"][0].uri
        _, other = model_names(blessing)
        measured = self._evaluation.metrics
        baseline = Evaluation(uri, other).metrics if other else None
        blessed = blessing.get_int_custom_property("blessed") == 1
        return {
            "metrics": _without_count(measured),
            "thresholds": {
                "metric": evaluator.gate_metric(gate, classes),
                "required": gate.top_k_accuracy,
                "max_regression": gate.max_regression,
                "split": gate.split,
                "note": evaluator.gate_note(gate, classes)
                or (outcome.unseen_loss(measured, baseline, gate) if k > 1 else None),
            },
            "baseline": baseline
            and {
                "model": blessing.get_string_custom_property("baseline_model_uri"),
                "metrics": _without_count(baseline),
            },
            "blessed": blessed,
            "refusals": [] if blessed else outcome.refusals(measured, baseline, gate, k),
        }

    def _pushed(self, pushed_model: Any) -> dict[str, Any]:
        if pushed_model.get_int_custom_property("pushed") != 1:
            return {"pushed_path": None}
        path = pushed_model.get_string_custom_property("pushed_destination")
        version = int(pushed_model.get_string_custom_property("pushed_version"))
        return {
            "pushed_path": path,
            "version": version,
            "already_pushed": version in self._versions_before,
            # Another one after a rollback: servers take the highest number.
            "served_version": max(versions.list_versions(Path(path).parent), default=None),
        }

    def write_report(self, path: Path, summary: dict[str, Any]) -> None:
        """Writes the page with whatever there is to show."""
        write_report(path, summary, self._evidence())

    def _evidence(self) -> Evidence:
        nodes, names = self._nodes, self._job.inputs.class_names
        parts: dict[str, Any] = {}
        if "StatisticsGen" in nodes:
            parts["statistics"] = outcome.statistics(nodes)
        if "ExampleValidator" in nodes:
            parts["anomalies"] = outcome.anomalies(nodes)
        if "Trainer" in nodes:
            parts["history"] = outcome.history(nodes)
        if "Evaluator" in nodes:
            parts["per_class"] = self._evaluation.per_class(names)
            parts["confusion"] = self._evaluation.confusion(len(names))
            parts["samples"] = outcome.samples(nodes, names, self._job.config.gate.split)
        return Evidence(**parts)


def _without_count(measured: dict[str, float]) -> dict[str, Any]:
    rest = {name: value for name, value in measured.items() if name != evaluator.EXAMPLES}
    return {**rest, "examples": int(measured[evaluator.EXAMPLES])}


def missing_versions(database: Path, model_dir: Path) -> str:
    """Versions that were pushed under `model_dir` and are gone, though nobody retired them.

    A parameter of the Pusher: when it changes, the Pusher misses its cache and pushes again.
    """
    if not database.is_file():
        return ""
    paths = {
        artifact.custom_properties["pushed_destination"].string_value
        for artifact in metadata.artifacts_of_type(database, "PushedModel")
    }
    gone = [
        path
        for path in map(Path, filter(None, paths))
        if path.parent == model_dir and not path.is_dir() and not versions.is_retired(path)
    ]
    return " ".join(sorted(path.name for path in gone))
