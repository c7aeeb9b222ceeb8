"""Dropout that draws few random numbers and multiplies them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from models.linear import PACKAGE

_HALF = 2**31


@keras.saving.register_keras_serializable(PACKAGE)
class Dropout(keras.layers.Dropout):
    """keras.layers.Dropout, for which random numbers are drawn by image and by place in it.

    Random numbers are what dropout costs. Element (b, ..., d) of a batch is decided by the
    product modulo 2**32 of one number for (b, d) and an odd one for (..., d): multiply-shift
    hashing (Dietzfelbinger and others, Journal of Algorithms 25, 1997). Any two elements are
    independent; that the mask repeats itself nowhere is tested.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        drawn = self.draw(ops.shape(inputs))
        return inputs * multiplier(drawn, self.rate, inputs.dtype)

    def draw(self, shape: tuple[Any, ...]) -> tuple[Any, Any] | None:
        """Random int32 for a shape (B, ..., D): (B, 1 ..., D) and, odd, (1, ..., D).

        None where nothing is dropped.
        """
        if self.rate == 0:
            return None
        images = (shape[0], *(1 for _ in shape[1:-1]), *shape[1:][-1:])
        places = (1, *shape[1:])
        return self._numbers(images), ops.bitwise_or(self._numbers(places), 1)

    def _numbers(self, shape: tuple[Any, ...]) -> Any:
        return keras.random.randint(
            shape, -_HALF, _HALF - 1, dtype="int32", seed=self.seed_generator
        )


def multiplier(drawn: tuple[Any, Any] | None, rate: float, dtype: Any) -> Any:
    """What elements are multiplied with: 0 for one that is dropped, 1 / (1 - rate) for others.

    Args:
        drawn: What `Dropout.draw` gave; None makes it 1.0.
        rate: Share of elements that is dropped.
        dtype: Of the result.
    """
    if drawn is None:
        return 1.0
    images, places = drawn
    threshold = np.int32(min(round(rate * 2 * _HALF) - _HALF, _HALF - 1))
    kept = ops.greater_equal(images * places, threshold)
    return ops.cast(kept, dtype) * ops.convert_to_tensor(1.0 / (1.0 - rate), dtype)
