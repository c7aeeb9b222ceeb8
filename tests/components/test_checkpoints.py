"""A training that was cut off goes on as if it had not been."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.checkpoints import MONITOR, Checkpoints, Progress, checkpoint_key
from models.losses import SmoothedCrossEntropy
from models.optim import OptimizerConfig, build_optimizer
from models.variants import variant
from models.vit import build_vit

# Keras, of how it reads TensorFlow's variables to write them down.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

LOGS = {"loss": 1.5, MONITOR: 0.25}
IMAGES = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype(np.float32)
LABELS = np.arange(8) % 3


def make_model(seed: int = 0, steps: int = 12) -> keras.Model:
    model = build_vit(variant("vit_tiny", depth=1), 3, seed)
    optimizer = build_optimizer(OptimizerConfig(learning_rate=1e-2), steps, model)
    model.compile(optimizer, SmoothedCrossEntropy(), metrics=["accuracy"])
    return model


def weights(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.weights]


def state(model: keras.Model) -> list[np.ndarray]:
    return [np.array(variable) for variable in model.optimizer.variables]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    model = make_model()
    for _ in range(3):
        model.train_on_batch(IMAGES, LABELS)
    return model


def make_progress(model: keras.Model, *accuracies: float) -> Progress:
    progress = Progress()
    for accuracy in accuracies:
        progress.add({**LOGS, MONITOR: accuracy}, model)
    return progress


def test_everything_that_the_next_epoch_needs_is_restored(
    trained: keras.Model, tmp_path: Path
) -> None:
    progress = make_progress(trained, 0.5)
    assert progress.best is not None
    progress.best = [weight + 1 for weight in progress.best]  # an earlier epoch's
    Checkpoints(str(tmp_path)).save(trained, progress)
    other = make_model(seed=9)
    restored = Checkpoints(str(tmp_path)).restore(other)
    assert_same(weights(other), weights(trained))
    assert_same(state(other), state(trained))
    assert int(other.optimizer.iterations) == 3
    assert restored.history == {"loss": [1.5], MONITOR: [0.5]}
    assert restored.epochs == 1
    assert restored.best is not None
    assert_same(restored.best, progress.best)


def test_without_a_checkpoint_nothing_changes(tmp_path: Path) -> None:
    model = make_model()
    before = weights(model)
    progress = Checkpoints(str(tmp_path / "nowhere")).restore(model)
    assert (progress.epochs, progress.history, progress.best) == (0, {}, None)
    assert_same(weights(model), before)


def test_only_the_newest_checkpoint_is_kept(trained: keras.Model, tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    for epochs in (1, 2, 11):
        checkpoints.save(trained, make_progress(trained, *[0.1] * epochs))
        assert [entry.name for entry in tmp_path.iterdir()] == [f"epoch-{epochs:05d}"]
    assert checkpoints.restore(make_model()).epochs == 11


def test_removing_leaves_other_trainings_alone(trained: keras.Model, tmp_path: Path) -> None:
    one, other = (Checkpoints(str(tmp_path / "all" / name)) for name in ("one", "other"))
    for checkpoints in (one, other):
        checkpoints.save(trained, make_progress(trained, 0.1))
    one.remove()
    assert not one.root.exists()
    assert other.restore(make_model()).epochs == 1
    other.remove()
    other.remove()
    assert not (tmp_path / "all").exists()


def test_a_half_written_checkpoint_is_ignored_and_removed(
    trained: keras.Model, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(trained, make_progress(trained, 0.1, 0.2))
    half = tmp_path / "writing-123"
    half.mkdir()
    (half / "state.weights.h5").write_bytes(b"\x89HDF half of it")
    assert checkpoints.restore(make_model()).epochs == 2
    checkpoints.save(trained, make_progress(trained, 0.1, 0.2, 0.3))
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch-00003"]


def test_a_first_checkpoint_cut_off_is_none(tmp_path: Path) -> None:
    (tmp_path / "writing-123").mkdir()
    assert Checkpoints(str(tmp_path)).restore(make_model()).epochs == 0


def test_the_newest_counts_where_the_older_was_not_removed_in_time(
    trained: keras.Model, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    Checkpoints(str(older)).save(trained, make_progress(trained, 0.1))
    Checkpoints(str(tmp_path / "newer")).save(trained, make_progress(trained, 0.1, 0.2))
    (tmp_path / "newer/epoch-00002").rename(older / "epoch-00002")
    assert Checkpoints(str(older)).restore(make_model()).epochs == 2


def test_the_best_weights_are_those_of_the_best_epoch() -> None:
    model, progress = make_model(), Progress()
    kept = []
    for epoch, accuracy in enumerate([0.3, 0.7, 0.7, 0.5]):
        model.set_weights([np.full(weight.shape, epoch) for weight in model.get_weights()])
        progress.add({**LOGS, MONITOR: accuracy}, model)
        assert progress.best is not None
        kept.append(progress.best[0].flat[0])
    assert kept == [0, 1, 1, 1]
    assert progress.history[MONITOR] == [0.3, 0.7, 0.7, 0.5]
    assert progress.epochs == 4


INPUTS: dict[str, Any] = {
    "config": {"model": {"depth": 2}, "trainer": {"seed": 1, "epochs": 3}},
    "graph": "/artifacts/transform/4",
    "examples": ["/artifacts/gate/3/*"],
}


@pytest.mark.parametrize(
    "change",
    [
        {"graph": "/artifacts/transform/5"},
        {"examples": ["/artifacts/gate/4/*"]},
        {"config": {"model": {"depth": 3}, "trainer": {"seed": 1, "epochs": 3}}},
        {"config": {"model": {"depth": 2}, "trainer": {"seed": 2, "epochs": 3}}},
        {"config": {"model": {"depth": 2}, "trainer": {"seed": 1, "epochs": 4}}},
        {"more": None},
    ],
)
def test_another_input_is_another_training(change: dict[str, Any]) -> None:
    assert checkpoint_key(**{**INPUTS, **change}) != checkpoint_key(**INPUTS)


def test_equal_inputs_are_one_training_in_whatever_order() -> None:
    again = json.loads(json.dumps(dict(reversed(INPUTS.items()))))
    assert checkpoint_key(**again) == checkpoint_key(**INPUTS)


def fit(model: keras.Model, first: int, epochs: int) -> None:
    model.fit(
        IMAGES,
        LABELS,
        batch_size=4,
        shuffle=False,
        initial_epoch=first,
        epochs=epochs,
        verbose=0,
    )


def test_a_training_that_was_cut_off_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    # The schedule changes the rate at every step, so a lost step count would show.
    whole = make_model(steps=8)
    fit(whole, 0, 4)
    first = make_model(steps=8)
    fit(first, 0, 2)
    Checkpoints(str(tmp_path)).save(first, make_progress(first, 0.1, 0.2))
    second = make_model(seed=7, steps=8)
    progress = Checkpoints(str(tmp_path)).restore(second)
    fit(second, progress.epochs, 4)
    for found, expected in zip(weights(second), weights(whole), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(weights(whole), weights(first), strict=True)) > (
        1e-3
    )


WRITER = """
import sys
import keras
from components.checkpoints import Checkpoints, MONITOR, Progress
model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(2000)])
model.compile("adam", "mse")
model.optimizer.build(model.trainable_variables)
progress = Progress()
print("ready", flush=True)
while True:
    progress.add({MONITOR: 0.1}, model)
    Checkpoints(sys.argv[1]).save(model, progress)
    print(progress.epochs, flush=True)
"""


def test_kill_while_writing_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(4)]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
    finished = int((lines + rest)[-1])
    model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(2000)])
    model.compile("adam", "mse")
    progress = Checkpoints(str(tmp_path)).restore(model)
    # Killed after the rename and before the line, it is one further.
    assert progress.epochs in (finished, finished + 1)
    assert progress.best is not None
    assert_same(progress.best, model.get_weights())
