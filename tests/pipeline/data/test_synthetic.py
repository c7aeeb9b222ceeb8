from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import synthetic
from pipeline.data.dataset import read_dataset
from pipeline.data.options import SyntheticConfig


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % len(synthetic.CLASS_NAMES)
    return synthetic.draw(labels, 32, np.random.default_rng(seed)), labels


def nearest_mean(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    means = np.stack([train[labels == label].mean(0) for label in range(10)])
    return ((test[:, None] - means) ** 2).sum(-1).argmin(1)


def test_every_split_holds_every_class_evenly(tmp_path: Path) -> None:
    synthetic.prepare(SyntheticConfig(train=50, eval=20, test=30), tmp_path / "out")
    data = read_dataset(tmp_path / "out")
    assert data.label_counts["train"] == dict.fromkeys(range(10), 5)
    assert data.label_counts["test"] == dict.fromkeys(range(10), 3)
    assert data.class_names == synthetic.CLASS_NAMES


def test_the_seed_decides_everything(
    tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    small = {"train": 20, "eval": 10, "test": 10, "size": 16}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.prepare(SyntheticConfig(seed=seed, **small), tmp_path / name)
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    other = contents(tmp_path / "c")
    shard = "train/part-00000.tfrecord.gz"
    assert first[shard] != other[shard]
    assert first["eval/part-00000.tfrecord.gz"] != first["test/part-00000.tfrecord.gz"]


def test_the_mean_colour_does_not_give_the_class_away() -> None:
    train, labels = drawn(2000, 1)
    test, expected = drawn(400, 2)
    guess = nearest_mean(train.mean((1, 2)), labels, test.mean((1, 2)))
    assert (guess == expected).mean() < 0.3


def test_the_shapes_differ_within_a_colour() -> None:
    # Centred by their mass, the shapes' average images are all different.
    train, labels = drawn(1000, 3)
    red = [train[labels == label].astype(float).mean(0) for label in range(5)]
    distances = [np.abs(a - b).mean() for i, a in enumerate(red) for b in red[:i]]
    assert min(distances) > 2


@pytest.mark.parametrize(
    ("setting", "told"),
    [({"train": 9}, "train must be 10"), ({"size": 4}, "size must be 8"), ({"seed": -1}, "seed")],
)
def test_settings_out_of_range_are_refused(setting: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SyntheticConfig(**setting)
