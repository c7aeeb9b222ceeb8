"""Dropout that draws one random number for four elements."""

from typing import Any

import keras
import numpy as np
from keras import ops

from models.linear import PACKAGE

_LEVELS = 2**8


@keras.saving.register_keras_serializable(PACKAGE)
class Dropout(keras.layers.Dropout):
    """keras.layers.Dropout, whose rate is met to 1 / 256 in each column and exactly in their mean.

    Random numbers are what dropout costs, and 8 bits each are enough to decide. The rate of a
    column of the last axis is the given one rounded up or down to 1 / 256, in such a mixture
    that the mean over the columns is the given rate to within 1 / 256 of a column's. What is
    kept is divided by the share that its column keeps, so that the expectation is exact.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        *rest, size = ops.shape(inputs)
        dropped = _levels(self.rate, size)
        scale = (_LEVELS / (_LEVELS - dropped)).astype("float32")
        drawn = keras.random.randint(
            (*rest, -(-size // 4)), -(2**31), 2**31 - 1, dtype="int32", seed=self.seed_generator
        )
        kept = ops.greater_equal(ops.view(drawn, "uint8")[..., :size], dropped.astype("uint8"))
        return inputs * (ops.cast(kept, inputs.dtype) * ops.cast(scale, inputs.dtype))


def _levels(rate: float, columns: int) -> np.ndarray:
    """How many of 256 numbers drop an element of each column, (columns,); fewer than 256."""
    ends = np.round(np.arange(columns + 1) * rate * _LEVELS)
    return np.minimum(np.diff(ends), _LEVELS - 1)
