"""Keras callbacks of the Trainer."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from components import progress as reporting
from components.checkpoints import Checkpoints, Progress

_SECONDS_BETWEEN_REPORTS = 0.5
# Loss and metrics of the eval split, by name.
Evaluation = Callable[[], Mapping[str, float]]


class FiniteLoss(keras.callbacks.Callback):
    """Stops a training whose loss is no number: nothing good comes after."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises FloatingPointError with the step and the learning rate."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            # Of a variable on several devices `float` knows nothing.
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
            raise FloatingPointError(
                f"the loss became {loss} at step {step} with learning rate {rate:.3g}: "
                "lower optimizer.learning_rate or set optimizer.clipnorm"
            )


class StepProgress(keras.callbacks.Callback):
    """Tells how far the epoch is, a few times a second at most."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs, self._epoch, self._last = epochs, 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Emits `step`."""
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_REPORTS:
            return
        self._last = now
        values = {name: float(value) for name, value in (logs or {}).items()}
        reporting.emit(
            "step",
            epoch=self._epoch + 1,
            epochs=self._epochs,
            step=batch + 1,
            steps=self.params["steps"],
            logs=values,
        )


class EvaluationOnly(keras.callbacks.Callback):
    """After each epoch: takes part in the evaluation whose result another process keeps."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__()
        self._evaluation = evaluation

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates."""
        self._evaluation()


class EpochKeeper(keras.callbacks.Callback):
    """After each epoch: evaluates, keeps the best weights, writes a checkpoint, tells."""

    def __init__(
        self,
        evaluation: Evaluation,
        checkpoints: Checkpoints,
        progress: Progress,
        epochs: int,
    ) -> None:
        super().__init__()
        self._evaluation, self._checkpoints = evaluation, checkpoints
        self._progress, self._epochs, self._start = progress, epochs, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Emits `epoch` once the checkpoint is whole."""
        trained = time.monotonic() - self._start
        values = {name: float(value) for name, value in (logs or {}).items()}
        values |= {f"eval_{name}": float(value) for name, value in self._evaluation().items()}
        values["seconds"] = trained
        self._progress.add(values, self.model)
        self._checkpoints.save(self.model, self._progress)
        reporting.emit(
            "epoch",
            epoch=epoch + 1,
            epochs=self._epochs,
            logs=values,
            seconds=time.monotonic() - self._start,
        )
