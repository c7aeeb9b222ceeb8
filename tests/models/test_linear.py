"""Gradients of whatever is added to every row of a batch, in bfloat16.

Each gradient here is a sum of equal ones, so it is the number of rows, which bfloat16 holds
exactly; added up in bfloat16 itself it would stop at 256.
"""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.layers import TokenEmbedding
from models.linear import Convolution, Linear

LAYERS = {
    "linear": (lambda dtype: Linear(3, name="layer", dtype=dtype), (16, 64, 5), 1024),
    "convolution": (
        lambda dtype: Convolution(3, 3, padding="same", name="layer", dtype=dtype),
        (4, 16, 16, 2),
        1024,
    ),
    "embedding": (lambda dtype: TokenEmbedding(name="layer", dtype=dtype), (1024, 2, 3), 1024),
}


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(("make", "shape", "rows"), LAYERS.values(), ids=LAYERS)
def test_gradient_of_an_offset_counts_every_row(
    make: type, shape: tuple[int, ...], rows: int, compiled: bool, dtype: str
) -> None:
    layer = make(dtype)
    layer.build(shape)
    offsets = [weight for weight in layer.trainable_weights if weight.name != "kernel"]

    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.cast(layer(tf.zeros(shape)), tf.float32))
        return tape.gradient(total, [weight.value for weight in offsets])

    for gradient in (tf.function(gradients) if compiled else gradients)():
        assert gradient.dtype == tf.float32
        np.testing.assert_array_equal(gradient, np.full(gradient.shape, rows))


@pytest.mark.parametrize("make", [LAYERS["linear"][0], LAYERS["convolution"][0]])
def test_layer_gives_what_that_of_keras_gives(make: type) -> None:
    layer = make("float32")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    layer.build(x.shape)
    for weight in layer.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    parent: Any = type(layer).__mro__[1]
    original = parent.from_config(layer.get_config())
    original.build(x.shape)
    original.set_weights(layer.get_weights())
    assert type(original) in (keras.layers.Dense, keras.layers.Conv2D)
    np.testing.assert_allclose(layer(x), original(x), rtol=1e-5, atol=1e-5)
