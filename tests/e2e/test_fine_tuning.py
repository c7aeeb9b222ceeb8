"""A run that starts from the weights of an earlier one, at another size."""

import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from components import initial_weights, weights_file
from models.transfer import resample_positions, weights_by_path
from models.variants import variant
from models.vit import build_vit
from tests.e2e.conftest import Result, Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

_FROM_TRAINER = {"Trainer", "Baseline", "ServingCheck", "Evaluator", "Pusher"}
# Too slow a training to move the weights, so that their origin shows; refused by the gate, so that
# the other tests of the workspace keep their model.
FINE_TUNING = (
    "model.image_size=48",
    "trainer.epochs=1",
    "optimizer.learning_rate=1e-9",
    "gate.top_k_accuracy=1.01",
)


def executed(result: Result) -> set[str]:
    """The components that were not taken from the cache."""
    return {name for name, state in result.states.items() if state != "cached"}


def tune(workspace: Workspace, start: Path, *more: str) -> Result:
    settings = [*FINE_TUNING, f"trainer.init_from={start}", *more]
    return workspace.run(*[part for setting in settings for part in ("--set", setting)])


def weights_of(version: Path) -> dict[str, np.ndarray]:
    """What an export says its model was."""
    file = version / "assets.extra" / "model.keras"
    return weights_by_path(keras.saving.load_model(file, compile=False))


def newest_weights(workspace: Workspace) -> dict[str, np.ndarray]:
    """What the latest training ended with."""
    models = workspace.root / "artifacts" / "Trainer" / "model"
    newest = max(models.iterdir(), key=lambda path: int(path.name))
    return weights_of(newest / "Format-Serving")


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for path, value in found.items():
        np.testing.assert_allclose(value, expected[path], atol=1e-5, err_msg=path)


def test_weights_of_a_pushed_version_are_trained_on_at_another_size(
    first: Result, workspace: Workspace, tmp_path: Path
) -> None:
    version, positions = tmp_path / "version", "embedding/positions"
    shutil.copytree(first.summary["pushed_path"], version)
    # Relative, and recorded as absolute.
    tuned = tune(workspace, Path(os.path.relpath(version)))
    assert tuned.code == 3 and tuned.summary["config"]["trainer"]["init_from"] == str(version)
    assert executed(tuned) == {*_FROM_TRAINER, "Transform"}
    source = weights_of(version)
    patches = resample_positions(source[positions][:, 1:], 6)
    source[positions] = np.concatenate([source[positions][:, :1], patches], axis=1)
    assert_close(newest_weights(workspace), source)
    assert executed(tune(workspace, version)) == set()

    # Other weights under the same path are another training.
    names = first.summary["data"]["classes"]
    other = build_vit(variant("vit_tiny", image_size=48), len(names), 6)
    initial_weights.save(other, names, str(version))
    again = tune(workspace, version)
    assert executed(again) == _FROM_TRAINER
    assert again.summary["digests"]["initial_weights"] == weights_file.digest(version)
    assert_close(newest_weights(workspace), weights_by_path(other))


def test_weights_of_another_architecture_are_refused_before_anything_starts(
    first: Result, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = len(list((workspace.root / "runs").iterdir()))
    refused = tune(workspace, Path(first.summary["pushed_path"]), "model.depth=3")
    assert refused.code == 2
    assert "model.depth: expected 2, got 3" in capsys.readouterr().err
    assert len(list((workspace.root / "runs").iterdir())) == runs
