"""Values and gradients of a function, beside those of a plain one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


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
