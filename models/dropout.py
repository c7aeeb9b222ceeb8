"""Dropout that draws one random number for two elements."""

from typing import Any

import keras
from keras import ops

from models.linear import PACKAGE

_LEVELS = 2**16


@keras.saving.register_keras_serializable(PACKAGE)
class Dropout(keras.layers.Dropout):
    """keras.layers.Dropout with the rate rounded to 1 / 65,536.

    Random numbers are what dropout costs; 16 bits each are enough to decide. What is kept is
    divided by the share that is kept, so that the expectation is exact.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        dropped = round(self.rate * _LEVELS)
        kept = self._kept(ops.shape(inputs), dropped)
        return inputs * (ops.cast(kept, inputs.dtype) * (_LEVELS / (_LEVELS - dropped)))

    def _kept(self, shape: tuple[Any, ...], dropped: int) -> Any:
        """True for about all but `dropped` of 65,536."""
        *rest, size = shape
        half = (size + 1) // 2
        drawn = keras.random.randint(
            (*rest, half), -(2**31), 2**31 - 1, dtype="int32", seed=self.seed_generator
        )
        low = ops.greater_equal(ops.bitwise_and(drawn, _LEVELS - 1), dropped)
        high = ops.greater_equal(drawn, dropped * _LEVELS - 2**31)
        return ops.concatenate([low, high], axis=-1)[..., :size]
