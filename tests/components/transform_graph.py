"""Writes a transform graph, as the Transform stage does; a program of its own.

python -m tests.components.transform_graph DIRECTORY

TensorFlow Transform on Beam leaves behind what crashes the interpreter on its way out: so it
does not run in the process of the tests, and this one leaves without cleaning up.
"""

import functools
import os
import sys

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata

from components.preprocessing import preprocessing_fn
from tests.components.material import GRAPH_IMAGES, MAX_PIXELS, SIZE, encode, random_pixels


def main(directory: str) -> None:
    text = tf.io.FixedLenFeature([], tf.string)
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(
        {"id": text, "image": text, "label": tf.io.FixedLenFeature([], tf.int64)}
    )
    rows = [
        {"id": b"-", "image": encode(random_pixels(seed)), "label": 0}
        for seed in range(GRAPH_IMAGES)
    ]
    settings = {"image_size": SIZE, "max_pixels": MAX_PIXELS}
    function = functools.partial(preprocessing_fn, custom_config=settings)
    with (
        beam.Pipeline(runner="DirectRunner") as pipeline,
        tft_beam.Context(temp_dir=os.path.join(directory, "temporary")),
    ):
        data = pipeline | beam.Create(rows), metadata
        _ = (
            data
            | tft_beam.AnalyzeDataset(function)
            | tft_beam.WriteTransformFn(os.path.join(directory, "graph"))
        )
        _ = metadata | tft_beam.WriteMetadata(os.path.join(directory, "graph/metadata"), pipeline)


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)
