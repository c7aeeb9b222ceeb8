"""What a training leaves behind beside its model."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components import run_record

HISTORY = {
    "loss": [2.0, 1.0, 0.5],
    "top_1_accuracy": [0.25, 0.5, 0.75],
    "top_5_accuracy": [0.5, 0.75, 1.0],
    "eval_loss": [2.5, 1.5, 1.25],
    "eval_top_1_accuracy": [0.125, 0.25, 0.5],
    "eval_top_5_accuracy": [0.25, 0.5, 0.625],
    "seconds": [10.0, 9.0, 9.5],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "model_run"
    run_record.write(str(path), HISTORY)
    return path


def test_the_history_comes_back(folder: Path) -> None:
    assert run_record.read_history(str(folder)) == HISTORY


@pytest.mark.parametrize(("split", "prefix"), [("train", ""), ("eval", "eval_")])
def test_tensorboard_reads_a_value_an_epoch(split: str, prefix: str, folder: Path) -> None:
    (file,) = (folder / "logs" / split).glob("events.out.tfevents.*")
    found: dict[str, list[tuple[int, float]]] = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert found == {
        name: list(enumerate(HISTORY[prefix + name], start=1))
        for name in ("loss", "top_1_accuracy", "top_5_accuracy")
    }


def test_the_curves_are_a_picture(folder: Path) -> None:
    with Image.open(folder / run_record.CURVES_FILE) as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 300
        # Two lines in different colours on white.
        colors = picture.convert("RGB").getcolors(2**24)
        assert colors is not None and len(colors) > 10


@pytest.mark.parametrize("history", [{}, {"loss": [1.0], "eval_loss": [2.0]}])
def test_a_short_history_with_fewer_metrics_is_drawn_too(
    history: dict[str, list[float]], tmp_path: Path
) -> None:
    run_record.write(str(tmp_path), history)
    assert run_record.read_history(str(tmp_path)) == history
    with Image.open(tmp_path / run_record.CURVES_FILE) as picture:
        picture.load()


def test_predictions_come_back_as_float32(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 7)
    run_record.write_predictions(str(tmp_path), probabilities)
    found = run_record.read_predictions(str(tmp_path))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, probabilities.astype(np.float32))
