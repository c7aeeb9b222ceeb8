"""What the Evaluator measures, and what its thresholds let pass, by TFMA's own validator."""

import json

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.utils.config_util import update_eval_config_with_defaults

from components import evaluator
from components.settings import GateConfig
from tests.thresholds import CASES, GATE


@pytest.mark.parametrize(
    ("classes", "top_k", "metric"),
    [
        (10, 5, "top_5_accuracy"),
        (6, 5, "top_5_accuracy"),
        (5, 5, "top_1_accuracy"),
        (2, 5, "top_1_accuracy"),
        (10, 3, "top_3_accuracy"),
        (10, 1, "top_1_accuracy"),
    ],
)
def test_gate_is_on_a_metric_that_not_every_model_passes(
    classes: int, top_k: int, metric: str
) -> None:
    config = GateConfig(top_k=top_k)
    assert evaluator.gate_metric(config, classes) == metric
    assert metric == f"top_{evaluator.gate_k(config, classes)}_accuracy"
    gated = [m for m in metrics(config, classes) if m.per_slice_thresholds]
    assert [json.loads(m.config)["name"] for m in gated] == [metric]


def metrics(config: GateConfig, classes: int) -> list[tfma.MetricConfig]:
    (spec,) = evaluator.eval_config(config, classes).metrics_specs
    return list(spec.metrics)


def test_a_gate_that_was_moved_to_top_1_says_so() -> None:
    note = evaluator.gate_note(GATE, 5)
    assert note == "with 5 classes every model has a top-5 accuracy of 1: the gate is on top-1"
    assert evaluator.gate_note(GATE, 6) is None
    assert evaluator.gate_note(GateConfig(top_k=1), 2) is None


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_top_1_loss_count_and_confusion_are_always_measured(classes: int) -> None:
    names = {json.loads(m.config)["name"] for m in metrics(GATE, classes)}
    gate = evaluator.gate_metric(GATE, classes)
    assert names == {"top_1_accuracy", "loss", "example_count", "confusion", gate}


def test_the_k_of_the_metric_is_the_configured_one_beside_top_5() -> None:
    found = [m for m in metrics(GateConfig(top_k=3), 10) if m.class_name.startswith("SparseTopK")]
    assert [json.loads(metric.config) for metric in found] == [
        {"k": 3, "name": "top_3_accuracy"},
        {"k": 5, "name": "top_5_accuracy"},
    ]
    assert [bool(metric.per_slice_thresholds) for metric in found] == [True, False]


def test_what_is_served_is_measured_whole_and_by_class() -> None:
    config = evaluator.eval_config(GATE, 10)
    (model,) = config.model_specs
    assert model.signature_name == "serving_default"
    assert model.prediction_key == "probabilities"
    assert model.label_key == "label"
    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [[], ["label"]]


def is_blessed(
    config: GateConfig, value: float, baseline: float | None = None, slice_key: tuple = ()
) -> bool:
    """TFMA's verdict on the gate's metric, with the configuration that TFX makes of ours."""
    has_baseline = baseline is not None
    run_config = update_eval_config_with_defaults(
        evaluator.eval_config(config, 10), has_baseline=has_baseline, rubber_stamp=True
    )
    name = evaluator.gate_metric(config, 10)
    key = metric_types.MetricKey(name, model_name="candidate" if has_baseline else "")
    values = {key: value}
    if baseline is not None:
        values[key.make_baseline_key("baseline")] = baseline
        values[key.make_diff_key()] = value - baseline
    return bool(metrics_validator.validate_metrics((slice_key, values), run_config).validation_ok)


@pytest.mark.parametrize(("value", "baseline", "blessed"), CASES)
def test_thresholds_bless_what_is_good_enough_and_not_much_worse_than_before(
    value: float, baseline: float | None, blessed: bool
) -> None:
    assert is_blessed(GATE, value, baseline) is blessed


def test_a_single_class_below_the_threshold_does_not_refuse() -> None:
    assert is_blessed(GATE, 0.1, slice_key=(("label", 3),))


def test_no_margin_refuses_whatever_is_worse() -> None:
    strict = GateConfig(top_k_accuracy=0.5, max_regression=0.0)
    assert is_blessed(strict, 0.8, 0.8)
    assert not is_blessed(strict, 0.7999, 0.8)


def test_a_threshold_above_1_refuses_a_perfect_model() -> None:
    assert not is_blessed(GateConfig(top_k_accuracy=1.01), 1.0)
