"""Linear maps whose bias gets the right gradient in bfloat16 too.

The gradient of a bias is a sum over every row of the batch, tens of thousands of numbers. On
TensorFlow, `keras.ops.add` of a vector becomes BiasAdd, whose gradient on a CPU adds bfloat16
numbers up in bfloat16: 256 ones and 37,120 ones both give 256. Bias gradients of `vit_cifar` were
wrong by half. The gradient of the plain addition used here accumulates in float32.
"""

from typing import Any

import keras
from keras import ops

PACKAGE = "vitpipe"


def add_offset(x: Any, offset: Any) -> Any:
    """x (..., D) + offset (D,)."""
    if keras.backend.standardize_dtype(x.dtype) == "float32":
        return ops.add(x, offset)  # Right in float32, and fused with the product before it.
    return x + ops.cast(ops.convert_to_tensor(offset), x.dtype)


@keras.saving.register_keras_serializable(PACKAGE)
class Linear(keras.layers.Dense):
    """keras.layers.Dense, without activation: (..., inputs) -> (..., units).

    Where `affine` is given, scale and offset (inputs,), the input stands for inputs * scale +
    offset, and where `factors` (units,) are, the output is multiplied with them. Both is done
    to the weights, which are fewer: (x s + o) W = x (s W) + o W.
    """

    def call(self, inputs: Any, affine: Any = None, factors: Any = None) -> Any:
        out, bias = self.product(inputs, affine, factors)
        return out if bias is None else add_offset(out, bias)

    def product(self, inputs: Any, affine: Any = None, factors: Any = None) -> tuple[Any, Any]:
        """What `call` adds up: a product (..., units), and the bias (units,) or None."""
        kernel, bias = self.kernel, self.bias if self.use_bias else None
        if factors is not None:
            kernel, bias = kernel * factors, None if bias is None else bias * factors
        if affine is not None:
            scale, offset = affine
            shift = ops.matmul(offset, kernel)
            kernel = ops.expand_dims(scale, 1) * kernel
            bias = shift if bias is None else shift + bias
        return ops.matmul(inputs, kernel), bias


@keras.saving.register_keras_serializable(PACKAGE)
class Convolution(keras.layers.Conv2D):
    """keras.layers.Conv2D, with bias, no activation: (B, S, S, inputs) -> (B, S', S', filters)."""

    def call(self, inputs: Any) -> Any:
        return add_offset(self.product(inputs), self.bias)

    def product(self, inputs: Any) -> Any:
        """What `call` adds the bias to."""
        return self.convolution_op(inputs, self.kernel)
