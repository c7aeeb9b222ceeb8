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
        *_, size = inputs.shape
        drawn = self.draw(ops.shape(inputs))
        return inputs * multiplier(drawn, self.rate, size, inputs.dtype)

    def draw(self, shape: tuple[Any, ...]) -> Any:
        """Random bytes for elements of a shape (..., D): (..., D or up to 3 more) uint8.

        None where nothing is dropped.
        """
        if self.rate == 0:
            return None
        *rest, size = shape
        drawn = keras.random.randint(
            (*rest, -(-size // 4)), -(2**31), 2**31 - 1, dtype="int32", seed=self.seed_generator
        )
        return ops.view(drawn, "uint8")


def multiplier(drawn: Any, rate: float, columns: int, dtype: Any) -> Any:
    """What elements are multiplied with: (..., columns), 0 for one that is dropped.

    Args:
        drawn: What `Dropout.draw` gave; None makes it 1.0.
        rate: Share of elements that is dropped.
        columns: D.
        dtype: Of the result.
    """
    if drawn is None:
        return 1.0
    dropped = _levels(rate, columns)
    scale = _LEVELS / (_LEVELS - dropped)
    kept = ops.greater_equal(drawn[..., :columns], dropped.astype("uint8"))
    return ops.cast(kept, dtype) * ops.convert_to_tensor(scale, dtype)


def _levels(rate: float, columns: int) -> np.ndarray:
    """How many of 256 numbers drop an element of each column, (columns,); fewer than 256."""
    ends = np.round(np.arange(columns + 1) * rate * _LEVELS)
    return np.minimum(np.diff(ends), _LEVELS - 1)
