"""A refusal says, with figures, what the Evaluator's thresholds decided."""

import pytest

from pipeline import outcome
from tests.thresholds import CASES, GATE


@pytest.mark.parametrize(("value", "baseline", "blessed"), CASES)
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
