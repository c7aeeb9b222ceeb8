"""The served model: bytes -> transform graph -> model -> probabilities, behind every signature.

The model is exported by a `tf.Module` that holds the weights as TensorFlow variables.
Keras 3 wraps its variables in objects that `tf.saved_model.save` does not follow: such an
export loads in Python and then fails in TF Serving's C++ loader ("Could not find variable").
"""

import os
from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from components import contract, tfrecords
from components.feeding import Graph
from components.versions import EXTRA_ASSETS

TOP = 5
PROBABILITIES, TOP_CLASSES, TOP_SCORES = "probabilities", "top_classes", "top_scores"
SERVE_EXAMPLES, SERVE_IMAGES, TRANSFORM = "serving_default", "serve_images", "transform_features"
WARMUP_FILE = "tf_serving_warmup_requests"


class ServedModel(tf.Module):
    """What is exported: the transform graph, the model and the class names."""

    def __init__(self, model: keras.Model, graph: Graph, class_names: Sequence[str]) -> None:
        super().__init__()
        self._model = model
        self._variables = [variable.value for variable in model.variables]
        self._graph = graph.layer
        self._spec = graph.output.raw_feature_spec()
        self._class_names = tf.constant(list(class_names))

    def _answers(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        images = self._graph({contract.IMAGE: encoded})[contract.IMAGE]
        probabilities = tf.nn.softmax(self._model(images, training=False), axis=-1)
        scores, indices = tf.math.top_k(probabilities, min(TOP, self._class_names.shape[0]))
        return {
            PROBABILITIES: probabilities,
            TOP_CLASSES: tf.gather(self._class_names, indices),
            TOP_SCORES: scores,
        }

    def _parse(self, examples: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        return tf.io.parse_example(examples, {name: self._spec[name] for name in names})

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B,) serialized tf.Examples; only `image` is read."""
        return self._answers(self._parse(examples, [contract.IMAGE])[contract.IMAGE])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "images")])
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B,) encoded PNG or JPEG images of any size."""
        return self._answers(images)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B,) serialized tf.Examples with a label -> what the model is trained on."""
        return dict(self._graph(self._parse(examples, [contract.IMAGE, contract.LABEL])))


def export(served: ServedModel, directory: str, samples: Sequence[bytes]) -> None:
    """Writes the SavedModel and, from `samples` (serialized examples), its warm-up requests."""
    signatures = {
        SERVE_EXAMPLES: served.serve_examples,
        SERVE_IMAGES: served.serve_images,
        TRANSFORM: served.transform_features,
    }
    tf.saved_model.save(served, directory, signatures=signatures)
    _write_warmup(os.path.join(directory, EXTRA_ASSETS, WARMUP_FILE), samples)


def _write_warmup(path: str, samples: Sequence[bytes]) -> None:
    """TF Serving replays these before a version goes live, so no caller pays for first use."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    encoded = [tfrecords.encoded_image(sample) for sample in samples]
    with tf.io.TFRecordWriter(path) as writer:
        for size in sorted({1, len(samples)}):
            for name, key, values in (
                (SERVE_IMAGES, "images", encoded),
                (SERVE_EXAMPLES, "examples", samples),
            ):
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(signature_name=name)
                )
                request.inputs[key].CopyFrom(tf.make_tensor_proto(list(values[:size]), tf.string))
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
