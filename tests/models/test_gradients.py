"""Gradients written by hand are those that would be derived."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.gradients import attend, exact_gelu, standardise

RNG = np.random.default_rng(0)


def value_and_gradients(
    function: Callable[..., Any], *inputs: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of the result, weighted by fixed random numbers."""
    tensors = [tf.constant(array) for array in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = function(*tensors)
    upstream = np.random.default_rng(1).normal(size=out.shape)
    gradients = tape.gradient(out, tensors, tf.constant(upstream, out.dtype))
    return out.numpy(), [gradient.numpy() for gradient in gradients]


def assert_same(function: Callable[..., Any], plain: Callable[..., Any], *inputs: Any) -> None:
    value, gradients = value_and_gradients(function, *inputs)
    expected, expected_gradients = value_and_gradients(plain, *inputs)
    tolerance = 1e-12 if value.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance)
    for found, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, other, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_gelu_is_the_exact_one(dtype: str, tolerance: float) -> None:
    x = np.concatenate([np.linspace(-12, 12, 1001), [0.0, -40.0, 40.0]]).astype(dtype)
    cumulative = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()])
    density = np.exp(-(x.astype("float64") ** 2) / 2) / math.sqrt(2 * math.pi)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        out = exact_gelu(tensor)
    np.testing.assert_allclose(out, x * cumulative, rtol=tolerance, atol=tolerance)
    slope = tape.gradient(out, tensor)
    np.testing.assert_allclose(slope, cumulative + x * density, rtol=tolerance, atol=tolerance)


def plain_standardised(x: Any) -> Any:
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 2), (3, 7), (2, 5, 64)])
def test_standardised_is_the_plain_one(shape: tuple[int, ...], dtype: str) -> None:
    x = (2 * RNG.normal(size=shape) + 1).astype(dtype)
    assert_same(lambda x: standardise(x, 1e-3), plain_standardised, x)


def plain_attention(query: Any, key: Any, value: Any) -> Any:
    return tf.matmul(tf.nn.softmax(tf.matmul(query, key, transpose_b=True)), value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
# From 128 tokens on the batch goes in parts, some of which are empty where it is small.
@pytest.mark.parametrize(
    "shape", [(1, 1, 2, 1), (2, 3, 5, 4), (4, 2, 17, 8), (3, 1, 130, 2), (17, 2, 128, 4)]
)
def test_attention_is_the_plain_one(shape: tuple[int, ...], dtype: str) -> None:
    assert_same(attend, plain_attention, *(RNG.normal(size=shape).astype(dtype) for _ in range(3)))


def test_attention_with_large_scores_has_finite_gradients() -> None:
    inputs = [30 * RNG.normal(size=(1, 2, 9, 4)).astype("float32") for _ in range(3)]
    _, gradients = value_and_gradients(attend, *inputs)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_both_work_in_bfloat16() -> None:
    x = tf.cast(RNG.normal(size=(2, 2, 6, 4)), "bfloat16")
    for out in (exact_gelu(x), attend(x, x, x)):
        assert out.dtype == "bfloat16"
        assert np.isfinite(np.asarray(out, "float32")).all()
