"""A refusal says, with figures, what the Evaluator's thresholds decided."""

import pytest

from components.settings import GateConfig
from pipeline import outcome

GATE = GateConfig(top_k=5, top_k_accuracy=0.9, max_regression=0.02)


# The same cases as for the thresholds themselves: tests/components/test_evaluator.py.
@pytest.mark.parametrize(
    ("value", "baseline", "blessed"),
    [
        (0.91, None, True),
        (0.9, None, True),
        (0.899, None, False),
        (0.95, 0.95, True),
        (0.95, 0.969, True),
        (0.95, 0.98, False),
        (0.99, 0.91, True),
        (0.89, 0.5, False),
    ],
)
def test_there_is_a_reason_exactly_where_a_model_was_not_blessed(
    value: float, baseline: float | None, blessed: bool
) -> None:
    other = None if baseline is None else {"top_5_accuracy": baseline}
    assert (outcome.refusals({"top_5_accuracy": value}, other, GATE, 5) == []) is blessed


def test_a_refusal_gives_measured_and_required() -> None:
    found = outcome.refusals({"top_5_accuracy": 0.85}, {"top_5_accuracy": 0.95}, GATE, 5)
    assert found == [
        "top_5_accuracy 0.8500 on split test is below the required 0.9000",
        "top_5_accuracy 0.8500 is more than 0.0200 below the 0.9500 of the latest blessed model",
    ]
