"""A transform graph made by TensorFlow Transform, a small model and its export."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

from components.export import ServedModel, export
from components.feeding import Graph, load_graph
from models.variants import variant
from models.vit import build_vit
from tests.components.material import (
    CLASSES,
    encode,
    example,
    good_records,
    random_pixels,
)


@pytest.fixture(scope="session")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Transform stage writes, from a handful of images."""
    folder = tmp_path_factory.mktemp("transform")
    command = [sys.executable, "-m", "tests.components.transform_graph", str(folder)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "graph"


@pytest.fixture(scope="session")
def graph(graph_dir: Path) -> Graph:
    return load_graph(str(graph_dir))


@dataclass(frozen=True)
class Exported:
    """A model with random weights, and its export."""

    model: keras.Model
    directory: str
    samples: tuple[bytes, ...]


@pytest.fixture(scope="session")
def exported(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = build_vit(variant("vit_tiny"), len(CLASSES), seed=3)
    for weight in model.trainable_variables:
        # As drawn they hardly count: where a patch lies would not be seen in the answers.
        if weight.name == "positions":
            weight.assign(30 * weight)
    directory = str(tmp_path_factory.mktemp("export") / "model")
    other_size = example("other", encode(random_pixels(99, 20, 50), "JPEG"), 1)
    samples = (*good_records(3), other_size)
    export(ServedModel(model, graph, CLASSES), directory, samples)
    return Exported(model, directory, samples)
