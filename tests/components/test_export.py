"""One path from an image's bytes to probabilities, behind every signature of the export."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components import contract, export, feeding
from components.feeding import Graph
from tests.components.conftest import Exported
from tests.components.material import (
    CLASSES,
    SIZE,
    encode,
    example,
    good_records,
    image_of,
    random_pixels,
    write_shard,
)

Signatures = dict[str, Callable[..., dict[str, tf.Tensor]]]
EXIF_SIX = (
    b"Exif\0\0II*\0"
    + struct.pack("<IH", 8, 1)
    + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    + bytes(4)
)


@pytest.fixture(scope="module")
def loaded(exported: Exported) -> Any:
    return tf.saved_model.load(exported.directory)


def ask(loaded: Any, *images: bytes) -> dict[str, np.ndarray]:
    answers = loaded.signatures[export.SERVE_IMAGES](images=tf.constant(images))
    return {name: value.numpy() for name, value in answers.items()}


def test_training_evaluation_and_served_bytes_give_the_same_numbers(
    exported: Exported, graph: Graph, loaded: Any, tmp_path: Path
) -> None:
    records = [*exported.samples, *good_records(5, first=10)]
    shard = write_shard(tmp_path / "shard", records)
    ((images, labels),) = feeding.evaluation_batches([shard], len(records), graph)
    trained = tf.nn.softmax(exported.model(images, training=False)).numpy()
    by_examples = loaded.signatures[export.SERVE_EXAMPLES](examples=tf.constant(records))
    by_images = ask(loaded, *map(image_of, records))
    np.testing.assert_allclose(by_examples[export.PROBABILITIES], trained, atol=1e-6)
    np.testing.assert_allclose(by_images[export.PROBABILITIES], trained, atol=1e-6)
    # The answers of untrained weights could all be alike; then the above would say nothing.
    assert np.ptp(trained, axis=0).max() > 1e-3
    np.testing.assert_allclose(trained.sum(axis=1), 1, atol=1e-6)
    assert labels.shape == (len(records),)


def test_the_training_stream_sees_what_is_served(
    exported: Exported, graph: Graph, loaded: Any, tmp_path: Path
) -> None:
    record = good_records(1)[0]
    shard = write_shard(tmp_path / "shard", [record])
    feed = feeding.Feed([shard], 1, 10, "none", 0)
    images, _ = next(iter(feeding.training_batches(feed, graph, 0, 1)))
    trained = tf.nn.softmax(exported.model(images, training=False)).numpy()
    served = ask(loaded, image_of(record))[export.PROBABILITIES]
    np.testing.assert_allclose(served, trained, atol=1e-6)


def test_top_classes_are_names_from_the_most_likely_on(exported: Exported, loaded: Any) -> None:
    answers = ask(loaded, *map(image_of, exported.samples))
    order = np.argsort(-answers[export.PROBABILITIES], axis=1)[:, : export.TOP]
    names = np.array(CLASSES)[order].astype(bytes)
    np.testing.assert_array_equal(answers[export.TOP_CLASSES], names)
    scores = np.take_along_axis(answers[export.PROBABILITIES], order, axis=1)
    np.testing.assert_array_equal(answers[export.TOP_SCORES], scores)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("shape", [(1, 1), (20, 50), (64, 64)])
def test_images_of_any_size_are_answered(kind: str, shape: tuple[int, int], loaded: Any) -> None:
    answers = ask(loaded, encode(random_pixels(4, *shape), kind))
    assert answers[export.PROBABILITIES].shape == (1, len(CLASSES))
    assert np.isfinite(answers[export.PROBABILITIES]).all()


def test_a_batch_may_mix_kinds_and_sizes(loaded: Any) -> None:
    images = [
        encode(random_pixels(1)),
        encode(random_pixels(2, 40, 10), "JPEG"),
        encode(random_pixels(3, 9, 9), mode="L"),
    ]
    together = ask(loaded, *images)[export.PROBABILITIES]
    alone = [ask(loaded, image)[export.PROBABILITIES][0] for image in images]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size; nothing of it need be decoded to refuse it."""
    body = encode(random_pixels(0))
    return body[:16] + struct.pack(">II", width, height) + body[24:]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (encode(random_pixels(0), "GIF"), "not a PNG or JPEG"),
        (encode(random_pixels(0), "BMP"), "not a PNG or JPEG"),
        (encode(random_pixels(0), "JPEG", mode="CMYK"), "CMYK"),
        (png_header(60_000, 60_000), "pixels"),
        (encode(random_pixels(0, 65, 64)), "pixels"),
        (b"", "not a PNG or JPEG"),
        (encode(random_pixels(0))[:99], "PNG"),
    ],
)
def test_the_loaded_model_refuses_what_is_no_image(image: bytes, reason: str, loaded: Any) -> None:
    good = encode(random_pixels(0))
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        ask(loaded, good, image)
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        loaded.signatures[export.SERVE_EXAMPLES](examples=tf.constant([example("x", image, 0)]))
    assert ask(loaded, good)[export.PROBABILITIES].shape == (1, len(CLASSES))


def test_exif_orientation_is_applied_where_the_model_is_served(loaded: Any) -> None:
    # One colour a 16 x 16 block, so that turning the JPEG is turning the pixels.
    pixels = np.kron(random_pixels(8, 2, 2), np.ones((16, 16, 1), np.uint8))
    turned = encode(pixels, "JPEG", subsampling=0, quality=100, exif=EXIF_SIX)
    upright = encode(np.rot90(pixels, -1), "JPEG", subsampling=0, quality=100)
    plain = encode(pixels, "JPEG", subsampling=0, quality=100)
    answers = ask(loaded, turned, upright, plain)[export.PROBABILITIES]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    assert np.abs(answers[0] - answers[2]).max() > 1e-2


def test_transparency_is_blended_over_white(loaded: Any) -> None:
    pixels = random_pixels(5)
    clear = np.concatenate([pixels, np.zeros((SIZE, SIZE, 1), np.uint8)], axis=2)
    white = encode(np.full((SIZE, SIZE, 3), 255, np.uint8))
    answers = ask(loaded, encode(clear, mode="RGBA"), white)[export.PROBABILITIES]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


def test_an_example_is_answered_without_its_label(loaded: Any) -> None:
    image = encode(random_pixels(0))
    bare = loaded.signatures[export.SERVE_EXAMPLES](
        examples=tf.constant([example(None, image, None)])
    )
    np.testing.assert_allclose(
        bare[export.PROBABILITIES], ask(loaded, image)[export.PROBABILITIES], atol=1e-6
    )


def test_transform_features_gives_what_the_model_is_trained_on(
    exported: Exported, graph: Graph, loaded: Any
) -> None:
    records = tf.constant(exported.samples)
    features = loaded.signatures[export.TRANSFORM](examples=records)
    images, labels = graph.apply(records)
    assert set(features) == {contract.IMAGE, contract.LABEL}
    np.testing.assert_allclose(features[contract.IMAGE], images, atol=1e-6)
    np.testing.assert_array_equal(features[contract.LABEL], labels)
    np.testing.assert_array_equal(labels, [0, 1, 2, 1])


def test_warmup_requests_run_on_the_loaded_model(exported: Exported, loaded: Any) -> None:
    path = os.path.join(exported.directory, export.EXTRA_ASSETS, export.WARMUP_FILE)
    asked = set()
    for record in tf.data.TFRecordDataset([path]).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        answers = loaded.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
        ((size,),) = {value.shape for value in inputs.values()}
        assert answers[export.PROBABILITIES].shape == (size, len(CLASSES))
        asked.add((name, size))
    sizes = (1, len(exported.samples))
    names = (export.SERVE_IMAGES, export.SERVE_EXAMPLES)
    assert asked == {(name, size) for name in names for size in sizes}
    # TF Serving refuses to load a model with more of them.
    assert len(asked) <= 1000


def test_fewer_classes_than_top_are_all_named(graph: Graph, tmp_path: Path) -> None:
    from models.variants import variant
    from models.vit import build_vit

    served = export.ServedModel(build_vit(variant("vit_tiny"), 2, 0), graph, ("no", "yes"))
    answers = served.serve_images(tf.constant([encode(random_pixels(0))]))
    assert set(answers[export.TOP_CLASSES].numpy()[0]) == {b"no", b"yes"}
