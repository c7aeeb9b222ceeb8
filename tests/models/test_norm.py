"""A block in training, whose norms leave their scale and shift to the next layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.blocks import Block
from models.config import ViTConfig
from models.linear import Linear
from models.norm import LayerNorm

RNG = np.random.default_rng(0)
CONFIG = ViTConfig(width=16, heads=2, mlp_width=24, depth=1)


def test_a_linear_layer_takes_over_scale_and_shift() -> None:
    for use_bias in (True, False):
        layer = Linear(5, use_bias=use_bias, bias_initializer="random_normal")
        x, scale, shift = (RNG.normal(size=size).astype("float32") for size in ((3, 4), 4, 4))
        expected = layer(x * scale + shift)
        np.testing.assert_allclose(layer(x, affine=(scale, shift)), expected, rtol=1e-5, atol=1e-6)


def test_a_block_in_training_is_the_one_that_is_served_with_the_same_gradients() -> None:
    block = Block(CONFIG, dtype="float64")
    x = RNG.normal(size=(3, 7, 16))
    block.build(x.shape)
    for weight in block.weights:
        weight.assign(weight + 0.3 * RNG.normal(size=weight.shape))
    upstream = tf.constant(RNG.normal(size=x.shape))
    found = [gradients(block, x, training, upstream) for training in (True, False)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def gradients(block: Block, x: np.ndarray, training: bool, upstream: tf.Tensor) -> list[np.ndarray]:
    """The result, and the gradients of the input and of every weight."""
    inputs = tf.constant(x)
    weights = [weight.value for weight in block.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        out = block(inputs, training=training)
    return [out.numpy(), *(g.numpy() for g in tape.gradient(out, [inputs, *weights], upstream))]


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_16_bits_are_standardised_in_32(kind: str) -> None:
    norm = LayerNorm(epsilon=1e-6, dtype=f"mixed_{kind}")
    # The mean of so many equal numbers is off by half if they are added up in bfloat16.
    x = np.concatenate([np.full(4096, 3.0), np.full(4096, 5.0)])[None]
    norm.build(x.shape)
    out = norm.standardised(keras.ops.cast(x, kind))
    assert keras.backend.standardize_dtype(out.dtype) == kind
    np.testing.assert_allclose(keras.ops.cast(out, "float32"), x - 4.0, rtol=1e-2)
