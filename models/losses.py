"""The training loss."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="vitpipe")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits with label smoothing, for integer labels.

    With smoothing s over C classes the target is 1 - s + s / C for the label and s / C for
    every other class (Szegedy et al. 2016, arXiv 1512.00567, section 7).
    """

    def __init__(self, smoothing: float = 0.0, name: str = "loss", **kwargs: object) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Labels (B,), logits (B, C) -> loss of each image (B,)."""
        log_probabilities = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        labels = ops.one_hot(ops.cast(y_true, "int32"), ops.shape(y_pred)[-1])
        likelihood = -ops.sum(labels * log_probabilities, axis=-1)
        if self.smoothing == 0:
            return likelihood
        spread = -ops.mean(log_probabilities, axis=-1)
        return (1 - self.smoothing) * likelihood + self.smoothing * spread

    def get_config(self) -> dict[str, object]:
        """Settings by name, for saving."""
        return {**super().get_config(), "smoothing": self.smoothing}
