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


@pytest.mark.parametrize(
    ("top_1", "said"), [(0.5, True), (0.879, True), (0.89, False), (1.0, False)]
)
def test_a_fall_of_top_1_that_the_gate_does_not_see_is_told(top_1: float, said: bool) -> None:
    measured = {"top_1_accuracy": top_1, "top_5_accuracy": 1.0}
    baseline = {"top_1_accuracy": 0.9, "top_5_accuracy": 1.0}
    note = outcome.unseen_loss(measured, baseline, GATE)
    assert (note is not None) is said
    assert outcome.unseen_loss(measured, None, GATE) is None
    if top_1 == 0.5:
        assert note is not None and "top-1 is 40.00 points below" in note


def test_a_refusal_gives_measured_and_required() -> None:
    found = outcome.refusals({"top_5_accuracy": 0.85}, {"top_5_accuracy": 0.95}, GATE, 5)
    assert found == [
        "top_5_accuracy 0.8500 on split test is below the required 0.9000",
        "top_5_accuracy 0.8500 is more than 0.0200 below the 0.9500 of the latest blessed model",
    ]
