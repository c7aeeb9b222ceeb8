"""Evaluator: TFMA on the signature that is served, and the thresholds that bless."""

import json

# From where they are defined: TFMA 0.52 does not export them.
from tensorflow_model_analysis.proto import config_pb2 as tfma
from tfx import v1 as tfx

from components import contract, export
from components.settings import GateConfig

TOP_1, LOSS, EXAMPLES = "top_1_accuracy", "loss", "example_count"
CONFUSION = "confusion"
# Measured whatever gates, where they can tell models apart.
_ALWAYS = (1, 5)


def gate_k(config: GateConfig, num_classes: int) -> int:
    """k of the metric that gates: with k classes or fewer, top-k always passes, so 1."""
    return config.top_k if num_classes > config.top_k else 1


def gate_metric(config: GateConfig, num_classes: int) -> str:
    """Name of the metric that gates."""
    return f"top_{gate_k(config, num_classes)}_accuracy"


def gate_note(config: GateConfig, num_classes: int) -> str | None:
    """Said to people when the gate is not on the k they asked for."""
    if num_classes > config.top_k:
        return None
    return (
        f"with {num_classes} classes every model has a top-{config.top_k} accuracy of 1: "
        "the gate is on top-1"
    )


def eval_config(config: GateConfig, num_classes: int) -> tfma.EvalConfig:
    """What is measured: overall and for each class, with thresholds on the gate's metric."""
    gating = gate_k(config, num_classes)
    shown = {gating, *(k for k in _ALWAYS if k < num_classes)}
    metrics = [_top_k(k, config if k == gating else None) for k in sorted(shown)]
    metrics += [
        tfma.MetricConfig(
            class_name="SparseCategoricalCrossentropy", config=json.dumps({"name": LOSS})
        ),
        tfma.MetricConfig(class_name="ExampleCount", config=json.dumps({"name": EXAMPLES})),
        tfma.MetricConfig(
            class_name="MultiClassConfusionMatrixPlot",
            config=json.dumps({"name": CONFUSION, "thresholds": [0.0]}),
        ),
    ]
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name=export.SERVE_EXAMPLES,
                # Without it TFMA takes an output named `scores` before `probabilities`.
                prediction_key=export.PROBABILITIES,
                label_key=contract.LABEL,
            )
        ],
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=[contract.LABEL])],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
    )


def _top_k(k: int, gate: GateConfig | None) -> tfma.MetricConfig:
    name = f"top_{k}_accuracy"
    metric = (
        {"class_name": "SparseCategoricalAccuracy", "config": json.dumps({"name": name})}
        if k == 1
        else {
            "class_name": "SparseTopKCategoricalAccuracy",
            "config": json.dumps({"k": k, "name": name}),
        }
    )
    return tfma.MetricConfig(**metric, per_slice_thresholds=[_threshold(gate)] if gate else None)


def _threshold(gate: GateConfig) -> tfma.PerSliceMetricThreshold:
    """For the whole split: a plain `threshold` would hold for every class of its own."""
    bounds = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": gate.top_k_accuracy}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER,
            absolute={"value": -gate.max_regression},
        ),
    )
    return tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=bounds)


def evaluator(
    examples: tfx.types.BaseChannel,
    model: tfx.types.BaseChannel,
    baseline_model: tfx.types.BaseChannel,
    config: GateConfig,
    num_classes: int,
) -> tfx.components.Evaluator:
    """The node that measures the model and blesses it, or does not."""
    return tfx.components.Evaluator(
        examples=examples,
        model=model,
        baseline_model=baseline_model,
        eval_config=eval_config(config, num_classes),
        example_splits=[config.split],
    )
