"""The training loss against NumPy in double precision, and against Keras."""

import keras
import numpy as np
import pytest
from keras import ops

from models.losses import SmoothedCrossEntropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5)) * 4
LABELS = np.array([0, 1, 2, 3, 4, 2])


def reference(labels: np.ndarray, logits: np.ndarray, smoothing: float) -> np.ndarray:
    """The definition, word by word, in float64: (B,)."""
    classes = logits.shape[1]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    targets = np.full(logits.shape, smoothing / classes)
    targets[np.arange(len(labels)), labels] += 1 - smoothing
    return -(targets * log_softmax).sum(axis=1)


def each(loss: SmoothedCrossEntropy, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return np.asarray(loss.call(ops.array(labels), ops.array(logits.astype(np.float32))))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.99])
def test_loss_of_each_image_is_as_defined(smoothing: float) -> None:
    loss = SmoothedCrossEntropy(smoothing)
    expected = reference(LABELS, LOGITS, smoothing)
    np.testing.assert_allclose(each(loss, LABELS, LOGITS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_give_no_infinity(smoothing: float) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    labels = np.array([0, 0])
    found = each(SmoothedCrossEntropy(smoothing), labels, logits)
    np.testing.assert_allclose(found, reference(labels, logits, smoothing), rtol=1e-5)


def test_without_smoothing_it_is_keras_cross_entropy() -> None:
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    arguments = ops.array(LABELS), ops.array(LOGITS.astype(np.float32))
    found = float(SmoothedCrossEntropy()(*arguments))
    assert found == pytest.approx(float(keras_loss(*arguments)), rel=1e-6)


def test_with_smoothing_it_is_keras_on_one_hot_labels() -> None:
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    logits = ops.array(LOGITS.astype(np.float32))
    found = float(SmoothedCrossEntropy(0.2)(ops.array(LABELS), logits))
    wanted = float(keras_loss(ops.array(np.eye(5, dtype=np.float32)[LABELS]), logits))
    assert found == pytest.approx(wanted, rel=1e-6)


def test_the_batch_loss_is_the_mean() -> None:
    loss = SmoothedCrossEntropy(0.1)
    found = float(loss(ops.array(LABELS), ops.array(LOGITS.astype(np.float32))))
    assert found == pytest.approx(reference(LABELS, LOGITS, 0.1).mean(), rel=1e-5)


def test_half_precision_logits_are_widened_first() -> None:
    logits = np.array([[3.0, -2.0, 0.5]])
    narrow = ops.cast(ops.array(logits.astype(np.float32)), "bfloat16")
    found = SmoothedCrossEntropy(0.1).call(ops.array([2]), narrow)
    np.testing.assert_allclose(found, reference(np.array([2]), logits, 0.1), rtol=1e-5)


def test_it_survives_its_config() -> None:
    loss = SmoothedCrossEntropy(0.3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, SmoothedCrossEntropy)
    assert again.get_config() == loss.get_config()
    assert again.smoothing == 0.3
