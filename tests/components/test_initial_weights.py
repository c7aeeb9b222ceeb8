"""A training that starts from trained weights: the file, what is taken, what is refused."""

import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components import initial_weights, progress, versions, weights_file
from components.errors import UsageError
from models.config import ViTConfig
from models.transfer import weights_by_path
from models.variants import variant
from models.vit import build_vit

# Keras, of how it reads TensorFlow's variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

NAMES = ("cat", "dog", "fox")
TINY = variant("vit_tiny", depth=1, dropout=0.1)


@pytest.fixture(scope="module")
def source() -> keras.Model:
    model = build_vit(TINY, len(NAMES), 1)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def version(source: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pushed version."""
    folder = tmp_path_factory.mktemp("model")
    export = folder / "export"
    initial_weights.save(source, NAMES, str(export))
    (export / "saved_model.pb").write_bytes(b"a model")
    return versions.publish(export, folder / "serving" / "vit", {"data": "1"})


@pytest.fixture
def notes() -> Iterator[list[str]]:
    found: list[str] = []
    with progress.listening(lambda event, values: found.append(f"{event}: {values['text']}")):
        yield found


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return weights_by_path(model)


def test_the_file_says_what_it_holds_without_keras(version: Path) -> None:
    found = weights_file.read(version)
    assert found == weights_file.WeightsFile(
        version / "assets.extra" / "model.keras", TINY, len(NAMES), NAMES
    )
    program = "import sys, components.weights_file; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert not {"keras", "tensorflow", "numpy"} & set(done.stdout.split())


def test_keras_loads_the_file_too(version: Path, source: keras.Model) -> None:
    loaded = keras.saving.load_model(version / "assets.extra" / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(loaded(x), source(x))


def test_the_file_carries_no_state_of_the_optimizer(version: Path, source: keras.Model) -> None:
    weights = sum(value.nbytes for value in values(source).values())
    with zipfile.ZipFile(version / "assets.extra" / "model.keras") as archive:
        stored = archive.getinfo("model.weights.h5").file_size
    # Adam's two moments would be twice the weights; HDF5 itself costs 1 or 2 kB a weight.
    assert weights < stored < weights + 2048 * (len(source.variables) + 10)
    assert source.optimizer is not None


@pytest.mark.parametrize("form", ["version", "extra", "file", "artifact"])
def test_every_form_of_place_is_understood(form: str, version: Path, tmp_path: Path) -> None:
    extra = version / "assets.extra"
    (tmp_path / "Format-Serving").symlink_to(version)
    places = {
        "version": version,
        "extra": extra,
        "file": extra / "model.keras",
        "artifact": tmp_path,
    }
    assert weights_file.locate(places[form]).samefile(extra / "model.keras")
    assert weights_file.digest(places[form]) == weights_file.digest(version)


def test_equal_models_start_equal(version: Path, source: keras.Model, notes: list[str]) -> None:
    model = build_vit(TINY, len(NAMES), 2)
    initial_weights.load_into(model, NAMES, str(version))
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, values(source)[path])
    (note,) = notes
    assert note.startswith("note: starts from ") and "20 of its weights" in note
    assert "anew" not in note and "resampled" not in note


@pytest.mark.parametrize("names", [("cat", "dog", "owl"), ("dog", "cat", "fox"), ("a", "b")])
def test_other_classes_start_with_a_new_head_even_if_as_many(
    names: tuple[str, ...], version: Path, source: keras.Model, notes: list[str]
) -> None:
    model = build_vit(dataclasses.replace(TINY, image_size=48), len(names), 2)
    before = values(model)
    initial_weights.load_into(model, names, str(version))
    after = values(model)
    for part in ("head/kernel", "head/bias"):
        np.testing.assert_array_equal(after[part], before[part])
    kernel = "block_0/mlp/expand/kernel"
    np.testing.assert_array_equal(after[kernel], values(source)[kernel])
    assert "positions resampled from 4 x 4 to 6 x 6" in notes[0]
    assert "the head starts anew, as its classes were others (cat, dog, fox)" in notes[0]


def test_a_file_without_class_names_gives_no_head(
    source: keras.Model, tmp_path: Path, notes: list[str]
) -> None:
    file = tmp_path / "mine.keras"
    source.save(file)
    model = build_vit(TINY, len(NAMES), 2)
    head = values(model)["head/kernel"]
    initial_weights.load_into(model, NAMES, str(file))
    np.testing.assert_array_equal(values(model)["head/kernel"], head)
    assert "names unknown" in notes[0]


def test_what_starts_anew_is_told(version: Path, notes: list[str]) -> None:
    config = dataclasses.replace(TINY, pooling="sequence")
    initial_weights.load_into(build_vit(config, len(NAMES), 2), NAMES, str(version))
    assert "pooling/score/kernel, pooling/score/bias start anew" in notes[0]


@pytest.mark.parametrize(
    ("change", "difference", "remedy"),
    [
        ({"width": 32}, "model.width: expected 16, got 32", "--set model.width=16"),
        (
            {"depth": 3, "heads": 4},
            "model.depth: expected 1, got 3; model.heads: expected 2, got 4",
            "--set model.depth=1 --set model.heads=2",
        ),
        (
            {"stem": "conv", "stem_channels": (4, 8, 16)},
            "model.stem: expected patch, got conv; model.stem_channels: expected []",
            "--set model.stem=patch --set 'model.stem_channels=[]'",
        ),
    ],
)
def test_another_architecture_is_refused_with_all_that_differs(
    change: dict[str, Any], difference: str, remedy: str, version: Path
) -> None:
    wanted = dataclasses.replace(TINY, **change)
    with pytest.raises(UsageError) as caught:
        weights_file.require_fit(weights_file.read(version), wanted)
    assert difference in str(caught.value)
    assert remedy in str(caught.value)
    with pytest.raises(UsageError, match="another model"):
        initial_weights.load_into(build_vit(wanted, len(NAMES), 2), NAMES, str(version))


def test_the_folder_of_versions_is_refused_with_the_newest(version: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        weights_file.read(version.parent)
    assert f"did you mean {version}?" in str(caught.value)
    with pytest.raises(UsageError, match=r"expected a pushed version.*there is no model\.keras$"):
        weights_file.read(tmp_path / "nowhere")


def archive(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(f"{name}.json", text)
    return path


def other_models(folder: Path) -> list[Path]:
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    dense.save(folder / "dense.keras")
    unknown: ViTConfig | dict[str, Any] = {"later_field": 1}
    layers = [{"config": {"name": "block_0", "vit": unknown}}]
    text = folder / "text.keras"
    text.write_text("no zip")
    return [
        folder / "dense.keras",
        text,
        archive(folder / "a.keras", other="{}"),
        archive(folder / "b.keras", config="no JSON"),
        archive(folder / "c.keras", config=json.dumps({"config": {"layers": layers}})),
    ]


def test_a_file_that_holds_no_model_of_ours_is_refused(tmp_path: Path) -> None:
    for path in other_models(tmp_path):
        with pytest.raises(UsageError, match=f"{path.name} is no Vision Transformer that vitpipe"):
            weights_file.read(path)


def test_other_weights_under_the_same_path_have_another_digest(tmp_path: Path) -> None:
    digests = []
    for seed in (1, 2):
        initial_weights.save(build_vit(TINY, 3, seed), NAMES, str(tmp_path))
        digests.append(weights_file.digest(tmp_path))
    initial_weights.save(build_vit(TINY, 3, 2), ("x", "y", "z"), str(tmp_path))
    assert len({*digests, weights_file.digest(tmp_path)}) == 3
    assert os.listdir(tmp_path / "assets.extra") == ["model.keras"]
