"""What a user of stock TFX writes for `plain_pipeline.py`: preprocessing and a training.

The model is as small as can be: what is measured is everything around it.
"""

import json
import os
import time
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public import tfxio

BATCH_SIZE = 128


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes and resizes; `custom_config` holds `image_size`."""
    size = custom_config["image_size"]

    def decode(png: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.io.decode_png(png, channels=3), (size, size))

    images = tf.map_fn(
        decode,
        tf.reshape(inputs["image"], [-1]),
        fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32),
    )
    return {"image": images / 127.5 - 1.0, "label": tf.reshape(inputs["label"], [-1])}


def run_fn(fn_args: Any) -> None:
    """Trains for the few steps asked for on the materialised examples, and exports."""
    graph = tft.TFTransformOutput(fn_args.transform_output)
    config = fn_args.custom_config
    batches = fn_args.data_accessor.tf_dataset_factory(
        fn_args.train_files,
        tfxio.TensorFlowDatasetOptions(batch_size=BATCH_SIZE, label_key="label"),
        graph.transformed_metadata.schema,
    ).map(lambda features, label: (features["image"], label))
    size = config["image_size"]
    model = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(config["classes"], activation="softmax"),
        ]
    )
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    start = time.monotonic()
    model.fit(batches, steps_per_epoch=fn_args.train_steps, epochs=1, verbose=0)
    _write_seconds(fn_args.model_run_dir, time.monotonic() - start)
    _export(model, graph, fn_args.serving_model_dir)


def _write_seconds(folder: str, seconds: float) -> None:
    """As the project's own Trainer leaves them."""
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(os.path.join(folder, "history.json"), "w") as file:
        file.write(json.dumps({"seconds": [seconds]}))


def _export(model: keras.Model, graph: tft.TFTransformOutput, folder: str) -> None:
    spec = graph.raw_feature_spec()
    del spec["label"]
    module = tf.Module()
    module.layer = graph.transform_features_layer()
    module.weights = [variable.value for variable in model.variables]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        images = module.layer(tf.io.parse_example(examples, spec))["image"]
        return {"probabilities": model(images, training=False)}

    tf.saved_model.save(module, folder, signatures={"serving_default": serve})
