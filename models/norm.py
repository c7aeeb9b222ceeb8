"""Layer normalisation that passes over its input less often in training."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from models.fusion import fused
from models.linear import PACKAGE


def standardise(x: Any, epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon) over the last axis; arXiv 1607.06450, equation 4."""

    @ops.custom_gradient
    def standardised(x: Any) -> tuple[Any, Callable[..., Any]]:
        out, inverse = _standardised(x, epsilon)

        def gradient(*args: Any, upstream: Any = None) -> Any:
            (upstream,) = args or (upstream,)
            return _gradient(upstream, out, inverse)

        return out, gradient

    return standardised(x)


@fused
def _standardised(x: Any, epsilon: float) -> tuple[Any, Any]:
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    inverse = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + epsilon)
    return centred * inverse, inverse


@fused
def _gradient(upstream: Any, out: Any, inverse: Any) -> Any:
    """With G for upstream: (G - mean(G) - out mean(G out)) * inverse, means over the last axis."""
    along = ops.mean(upstream * out, axis=-1, keepdims=True)
    constant = ops.mean(upstream, axis=-1, keepdims=True)
    return (upstream - constant - out * along) * inverse


@keras.saving.register_keras_serializable(PACKAGE)
class LayerNorm(keras.layers.LayerNormalization):
    """keras.layers.LayerNormalization over the last axis: (..., D) -> (..., D)."""

    def standardised(self, x: Any) -> Any:
        """The input with mean 0 and variance 1, not yet scaled and shifted; for training."""
        kind = keras.backend.standardize_dtype(x.dtype)
        # As Keras does: mean and variance of 16-bit numbers need 32.
        wide = ops.cast(x, "float32") if kind in ("float16", "bfloat16") else x
        return ops.cast(standardise(wide, self.epsilon), kind)
