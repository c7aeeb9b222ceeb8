"""Bias, GELU and dropout behind a linear map, for training: one chain, with its gradient."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from models.dropout import multiplier
from models.fusion import fused


def activate(x: Any, bias: Any, drawn: Any = None, rate: float = 0.0) -> Any:
    """dropout(GELU(x + bias)): (..., D) -> (..., D).

    GELU(z) is z Phi(z), Phi the normal distribution's cumulative function; arXiv 1606.08415.

    Args:
        x: (..., D), a product.
        bias: (D,).
        drawn: What `Dropout.draw` gave for the shape of x; None drops nothing.
        rate: Share of the elements that is dropped.
    """

    @ops.custom_gradient
    def activated(x: Any, bias: Any) -> tuple[Any, Callable[..., Any]]:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            (upstream,) = args or (upstream,)
            return _gradients(upstream, x, bias, drawn, rate)

        return _activated(x, bias, drawn, rate), gradient

    # A copy, as TensorFlow lets no variable into a function with a gradient of its own.
    return activated(x, ops.copy(bias))


@fused
def _activated(x: Any, bias: Any, drawn: Any, rate: float) -> Any:
    z = _wide(x) + _wide(bias)
    return ops.cast(z * _cumulative(z) * multiplier(drawn, rate, z.dtype), x.dtype)


@fused
def _gradients(upstream: Any, x: Any, bias: Any, drawn: Any, rate: float) -> tuple[Any, Any]:
    z = _wide(x) + _wide(bias)
    density = ops.exp(-0.5 * math.log(2.0 * math.pi) - 0.5 * z * z)
    kept = _wide(upstream) * multiplier(drawn, rate, z.dtype)
    of_z = kept * (_cumulative(z) + z * density)
    of_bias = ops.sum(ops.reshape(of_z, (-1, x.shape[-1])), axis=0)
    return ops.cast(of_z, x.dtype), ops.cast(of_bias, bias.dtype)


def _cumulative(z: Any) -> Any:
    return 0.5 + 0.5 * ops.erf(z * math.sqrt(0.5))


def _wide(x: Any) -> Any:
    """In float32: what is a chain's own never goes through memory, so it costs nothing."""
    return x if keras.backend.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")
