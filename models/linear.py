"""Linear maps whose bias gets an exact gradient in half precision too.

The gradient of a bias is a sum over every row of the batch, tens of thousands of numbers. Keras
leaves it to the backend's broadcast addition, which on TensorFlow adds up bfloat16 numbers in
bfloat16: beyond 256 equal terms the sum no longer grows, and bias gradients of `vit_cifar` were
wrong by half. As a matrix product, which accumulates in float32, the same sum is right.
"""

from typing import Any

import keras
from keras import ops

PACKAGE = "vitpipe"


@ops.custom_gradient
def _add_accurately(x: Any, offset: Any) -> tuple[Any, Any]:
    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
        upstream = args[0] if upstream is None else upstream
        rows = ops.reshape(upstream, (-1, upstream.shape[-1]))
        ones = ops.ones((1, ops.shape(rows)[0]), rows.dtype)
        return upstream, ops.reshape(ops.matmul(ones, rows), (-1,))

    return x + offset, gradient


def add_offset(x: Any, offset: Any) -> Any:
    """x (..., D) + offset (D,), the offset's gradient accumulated in float32."""
    offset = ops.cast(ops.convert_to_tensor(offset), x.dtype)
    if keras.backend.standardize_dtype(x.dtype) == "float32":
        return x + offset
    return _add_accurately(x, offset)


@keras.saving.register_keras_serializable(PACKAGE)
class Linear(keras.layers.Dense):
    """keras.layers.Dense, without activation: (..., inputs) -> (..., units)."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        out = ops.matmul(inputs, self.kernel)
        return add_offset(out, self.bias) if self.use_bias else out


@keras.saving.register_keras_serializable(PACKAGE)
class Convolution(keras.layers.Conv2D):
    """keras.layers.Conv2D, with a bias: (B, S, S, inputs) -> (B, S', S', filters)."""

    def call(self, inputs: Any) -> Any:
        out = add_offset(self.convolution_op(inputs, self.kernel), self.bias)
        return self.activation(out)
