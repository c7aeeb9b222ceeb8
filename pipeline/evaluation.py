"""What the Evaluator measured: over the whole split, by class, and what was taken for what."""

from typing import Any

import numpy as np
import tfx  # noqa: F401  before TFMA: it puts in what TFMA misses of tfx-bsl

from components import contract, evaluator

# isort: split
import tensorflow_model_analysis as tfma

Metrics = dict[str, float]
CANDIDATE, BASELINE = "candidate", "baseline"


def model_names(blessing: Any) -> tuple[str | None, str | None]:
    """Names under which TFMA kept candidate and baseline; no names for a lone model."""
    if blessing.has_custom_property("baseline_model_id"):
        return CANDIDATE, BASELINE
    return None, None


class Evaluation:
    """One model's part of an evaluation artifact."""

    def __init__(self, uri: str, model_name: str | None) -> None:
        """Reads it; `model_name` where two models were measured."""
        result = tfma.load_eval_result(uri, model_name=model_name)
        self._slices = {
            tuple(key): {
                name: float(value["doubleValue"])
                for name, value in outputs[""][""].items()
                if "doubleValue" in value and not name.endswith("_diff")
            }
            for key, outputs in result.slicing_metrics
        }
        self._plots = {tuple(key): outputs[""][""] for key, outputs in result.plots}

    @property
    def metrics(self) -> Metrics:
        """Over the whole split, by name."""
        return self._slices.get((), {})

    def per_class(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """One row a class: its name, examples and accuracies (None where it has no example)."""
        accuracies = [name for name in self.metrics if name.endswith("_accuracy")]
        rows = []
        for label, name in enumerate(names):
            found = self._slices.get(((contract.LABEL, label),), {})
            row = {"name": name, "examples": int(found.get(evaluator.EXAMPLES, 0))}
            rows.append(row | {metric: found.get(metric) for metric in accuracies})
        return rows

    def confusion(self, size: int) -> list[list[int]]:
        """Counts (size, size), rows are true classes and columns predicted ones."""
        matrix = np.zeros((size, size), int)
        plot = self._plots[()]["multiClassConfusionMatrixAtThresholds"]
        for entry in plot["matrices"][0]["entries"]:
            row, column = int(entry.get("actualClassId", 0)), int(entry.get("predictedClassId", 0))
            matrix[row, column] = int(float(entry.get("numWeightedExamples", 0)))
        counts: list[list[int]] = matrix.tolist()
        return counts
