"""What a report shows beside the summary: how the model learnt and where it errs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """Everything may be empty: a run that failed early has little to show."""

    history: Mapping[str, Sequence[float]] = field(
        default_factory=dict,
        metadata={
            "help": "one value a finished epoch: loss, top_K_accuracy, the same with eval_ "
            "before it, learning_rate, seconds"
        },
    )
    per_class: Sequence[Mapping[str, Any]] = field(
        default=(), metadata={"help": "name, examples, top_K_accuracy (0 .. 1 or None)"}
    )
    confusion: Sequence[Sequence[int]] | None = field(
        default=None,
        metadata={"help": "counts, a row a true class, a column a predicted one"},
    )
    samples: Sequence[Mapping[str, Any]] = field(
        default=(),
        metadata={
            "help": "image (encoded PNG or JPEG), id, label (name), predictions (name and "
            "score, best first)"
        },
    )
    statistics: Sequence[Mapping[str, Any]] = field(
        default=(), metadata={"help": "split, feature, type, examples, missing, note"}
    )
    anomalies: Sequence[Mapping[str, Any]] = field(
        default=(), metadata={"help": "split, feature, reason"}
    )
