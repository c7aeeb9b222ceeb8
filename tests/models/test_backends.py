"""The same models on Keras's JAX backend, against TensorFlow's."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.models.kinds import KINDS
from tests.models.one_step import COMPARED, OPTIMIZED, Arrays, build, compute, given

ROOT = Path(__file__).parents[2]
TOLERANCE = 2e-5


def on_jax(arrays: Arrays, folder: Path) -> Arrays:
    """What a process of its own computes: Keras chooses its backend when it is imported."""
    np.savez(folder / "given.npz", **arrays)  # type: ignore[arg-type]
    subprocess.run(
        [sys.executable, "-m", "tests.models.one_step", "given.npz", "result.npz"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            # Each program runs once: compiling it well takes longer than it saves.
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        check=True,
    )
    with np.load(folder / "result.npz") as result:
        return dict(result)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Arrays, Arrays]:
    """Of TensorFlow and of JAX."""
    arrays = given()
    return compute(arrays), on_jax(arrays, tmp_path_factory.mktemp("jax"))


def parts(result: Arrays, kind: str) -> Arrays:
    """What a result holds of one kind, by the name in the model."""
    return {
        name.removeprefix(f"{kind}:"): value
        for name, value in result.items()
        if name.startswith(f"{kind}:")
    }


def disagreements(ours: Arrays, other: Arrays) -> dict[str, float]:
    """By name, the largest difference over the largest value, where it is beyond TOLERANCE."""
    assert ours.keys() == other.keys()
    errors = {
        name: np.abs(other[name] - value).max() / np.abs(value).max()
        for name, value in ours.items()
    }
    return {name: error for name, error in errors.items() if not error < TOLERANCE}


def test_every_choice_is_compared() -> None:
    chosen = {item for options in KINDS.values() for item in options.items()}
    wanted = {item for item in chosen if not item[0].endswith("dropout")}
    compared = [dataclasses.asdict(config).items() for config in COMPARED.values()]
    assert [item for item in wanted if not any(item in items for items in compared)] == []


def test_each_side_runs_on_its_own_backend(results: tuple[Arrays, Arrays]) -> None:
    assert [str(result["backend"]) for result in results] == ["tensorflow", "jax"]


def test_models_run_without_tensorflow(results: tuple[Arrays, Arrays]) -> None:
    assert not results[1]["holds tensorflow"]


@pytest.mark.parametrize("kind", COMPARED)
def test_forward_pass_and_gradient_step_agree(kind: str, results: tuple[Arrays, Arrays]) -> None:
    ours, other = (parts(result, kind) for result in results)
    weights = build(kind).trainable_weights
    changes = {f"{weight.path}:change" for weight in weights}
    assert set(ours) == {"logits", "loss"} | changes
    # Softmax takes no notice of a bias of all its scores, so the gradient of that bias is 0 but
    # for rounding, which each backend does in its own way.
    largest = max(np.abs(ours[name]).max() for name in changes)
    for result in (ours, other):
        assert np.abs(result.pop("pooling/score/bias:change", 0.0)).max() < 1e-6 * largest
    assert disagreements(ours, other) == {}


def test_optimizer_steps_agree(results: tuple[Arrays, Arrays]) -> None:
    ours, other = (parts(result, "optimized") for result in results)
    assert set(ours) == {weight.path for weight in build(OPTIMIZED).trainable_weights}
    assert disagreements(ours, other) == {}
