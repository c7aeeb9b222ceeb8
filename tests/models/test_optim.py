"""AdamW, its schedule, and which weights it decays."""

import dataclasses
import math

import keras
import numpy as np
import pytest

from models.optim import OptimizerConfig, build_optimizer, learning_rate
from models.schedule import WarmupSchedule
from models.variants import variant
from models.vit import build_vit

ARTICLE = OptimizerConfig(
    learning_rate=1e-3, weight_decay=1e-4, decay_all=True, schedule="constant", warmup_fraction=0.0
)


def scheduled(config: OptimizerConfig, steps: int) -> WarmupSchedule:
    schedule = learning_rate(config, steps)
    assert isinstance(schedule, WarmupSchedule)
    return schedule


def rates(schedule: WarmupSchedule, steps: list[int]) -> list[float]:
    return [float(schedule(step)) for step in steps]


def test_rate_rises_then_follows_half_a_cosine() -> None:
    schedule = WarmupSchedule(0.2, warmup_steps=10, total_steps=110, kind="cosine")
    expected = [0.02, 0.1, 0.2, 0.2, 0.1, 0.2 * 0.5 * (1 + math.cos(math.pi * 0.99)), 0.0, 0.0]
    actual = rates(schedule, [0, 4, 9, 10, 60, 109, 110, 500])
    np.testing.assert_allclose(actual, expected, atol=1e-7)


def test_constant_rate_stays_after_warmup() -> None:
    schedule = WarmupSchedule(0.2, warmup_steps=4, total_steps=10, kind="constant")
    np.testing.assert_allclose(rates(schedule, [0, 3, 9, 99]), [0.05, 0.2, 0.2, 0.2], rtol=1e-6)


def test_schedule_without_warmup_starts_at_the_peak() -> None:
    config = OptimizerConfig(learning_rate=0.3, warmup_fraction=0.0)
    np.testing.assert_allclose(rates(scheduled(config, 7), [0, 7]), [0.3, 0.0], atol=1e-7)


def test_article_has_a_plain_rate() -> None:
    assert learning_rate(ARTICLE, 100) == 1e-3


def test_schedule_survives_its_config() -> None:
    schedule = scheduled(OptimizerConfig(), 100)
    stored = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(stored)
    assert again.get_config() == schedule.get_config()
    assert schedule.get_config() == {
        "peak": 1e-3,
        "warmup_steps": 8,
        "total_steps": 100,
        "kind": "cosine",
    }


def decayed_weights(config: OptimizerConfig) -> set[str]:
    """Names of the weights that shrink when every gradient is zero."""
    model = build_vit(variant("vit_tiny"), 3, 0)
    optimizer = build_optimizer(config, 10, model)
    weights = model.trainable_variables
    for weight in weights:
        weight.assign(np.ones(weight.shape))
    optimizer.apply([np.zeros(w.shape, "float32") for w in weights], weights)
    return {weight.name for weight in weights if (weight.numpy() < 1).all()}


def test_only_kernels_decay_by_default() -> None:
    assert decayed_weights(OptimizerConfig()) == {"kernel"}


def test_article_decays_everything() -> None:
    names = {"kernel", "bias", "gamma", "beta", "class_token", "positions"}
    assert decayed_weights(ARTICLE) == names


def test_first_step_is_adamw() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    optimizer = build_optimizer(dataclasses.replace(ARTICLE, weight_decay=0.1), 10, model)
    kernel = model.trainable_variables[0]
    kernel.assign([[2.0], [-3.0]])
    optimizer.apply([np.array([[0.5], [-0.25]], "float32")], [kernel])
    # Adam's first step is the rate times the gradient's sign; decay takes 0.1 x rate of the weight.
    expected = np.array([[2.0], [-3.0]]) * (1 - 1e-3 * 0.1) - 1e-3 * np.array([[1.0], [-1.0]])
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)


def test_clipping_bounds_the_whole_gradient() -> None:
    model = build_vit(variant("vit_tiny"), 3, 0)
    assert build_optimizer(OptimizerConfig(clipnorm=1.0), 10, model).global_clipnorm == 1.0
    assert build_optimizer(OptimizerConfig(), 10, model).global_clipnorm is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate: expected above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected above 0"),
        ({"weight_decay": -1.0}, "weight_decay: expected 0 or more"),
        ({"clipnorm": -1.0}, "clipnorm: expected 0 or more"),
        ({"warmup_fraction": 1.0}, "warmup_fraction: expected 0 to below 1"),
        ({"beta_1": 1.0}, "beta_1: expected 0 to below 1"),
        ({"beta_2": -0.1}, "beta_2: expected 0 to below 1"),
        ({"schedule": "linear"}, "schedule: expected one of constant, cosine"),
    ],
)
def test_value_out_of_range_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**change)


def test_run_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="total_steps: expected at least 1, got 0"):
        build_optimizer(OptimizerConfig(), 0, build_vit(variant("vit_tiny"), 3, 0))


def test_every_field_has_help() -> None:
    assert all(field.metadata["help"] for field in dataclasses.fields(OptimizerConfig))


def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else() -> None:
    model = build_vit(variant("vit_demo"), 10)
    optimizer = build_optimizer(OptimizerConfig(name="muon"), 10, model)
    optimizer.build(model.trainable_variables)
    with_muon = {w.path for w in model.trainable_variables if not optimizer._should_use_adamw(w)}
    kernels = ("attention/qkv", "attention/output", "mlp/expand", "mlp/contract")
    blocks = [layer.name for layer in model.layers if layer.name.startswith("block_")]
    assert with_muon == {f"{block}/{kernel}/kernel" for block in blocks for kernel in kernels}


def test_muon_learns() -> None:
    model = build_vit(variant("vit_tiny"), 3)
    optimizer = build_optimizer(OptimizerConfig(name="muon", learning_rate=0.01), 30, model)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).normal(size=(12, 32, 32, 3)).astype("float32")
    losses = [model.train_on_batch(x, np.arange(12) % 3) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
