"""Layer normalisation that passes over its input less often in training."""

from typing import Any

import keras
from keras import ops

from models.gradients import standardise
from models.linear import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class LayerNorm(keras.layers.LayerNormalization):
    """keras.layers.LayerNormalization over the last axis: (..., D) -> (..., D)."""

    def standardised(self, x: Any) -> Any:
        """The input with mean 0 and variance 1, not yet scaled and shifted; for training."""
        kind = keras.backend.standardize_dtype(x.dtype)
        # As Keras does: mean and variance of 16-bit numbers need 32.
        wide = ops.cast(x, "float32") if kind in ("float16", "bfloat16") else x
        return ops.cast(standardise(wide, self.epsilon), kind)
