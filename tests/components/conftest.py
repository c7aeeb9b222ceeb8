"""A transform graph made by TensorFlow Transform, a small model and its export."""

import functools
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from components.export import ServedModel, export
from components.feeding import Graph, load_graph
from models.variants import variant
from models.vit import build_vit
from tests.components.material import (
    CLASSES,
    MAX_PIXELS,
    SIZE,
    encode,
    example,
    good_records,
    random_pixels,
)


@pytest.fixture(scope="session")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Transform stage writes, from a handful of images."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata

    from components.preprocessing import preprocessing_fn

    folder = tmp_path_factory.mktemp("transform")
    settings = {"image_size": SIZE, "max_pixels": MAX_PIXELS}
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(
        {
            "id": tf.io.FixedLenFeature([], tf.string),
            "image": tf.io.FixedLenFeature([], tf.string),
            "label": tf.io.FixedLenFeature([], tf.int64),
        }
    )
    rows = [{"id": b"-", "image": encode(random_pixels(seed)), "label": 0} for seed in range(4)]
    with (
        beam.Pipeline(runner="DirectRunner") as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temporary")),
    ):
        data = pipeline | beam.Create(rows), metadata
        function = data | tft_beam.AnalyzeDataset(
            functools.partial(preprocessing_fn, custom_config=settings)
        )
        _ = function | tft_beam.WriteTransformFn(str(folder / "graph"))
        _ = metadata | tft_beam.WriteMetadata(str(folder / "graph/metadata"), pipeline)
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
