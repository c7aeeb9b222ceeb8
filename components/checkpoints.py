"""Training that survives being killed: everything that the next epoch needs, after each one.

A checkpoint is a folder that appears under its final name only when it is complete, so
the newest one is always whole. It lies outside of the artifacts, whose folder is another
one when the stage runs again, under a name made of all that the training depends on.
"""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

MONITOR = "eval_top_1_accuracy"
_STATE, _BEST, _HISTORY = "state.weights.h5", "best.npz", "history.json"


def checkpoint_key(**inputs: Any) -> str:
    """Name of a training: equal exactly if all of `inputs` (JSON values) are."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]


@dataclass
class Progress:
    """What has been learnt so far, besides the state of the model and its optimizer."""

    history: dict[str, list[float]] = field(default_factory=dict)
    best: list[np.ndarray] | None = None

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return len(next(iter(self.history.values()), []))

    def add(self, logs: dict[str, float], model: keras.Model) -> None:
        """Takes in a finished epoch; keeps its weights if it is the best one so far."""
        earlier = self.history.get(MONITOR, [])
        if not earlier or logs[MONITOR] > max(earlier):
            self.best = model.get_weights()
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))


class Checkpoints:
    """The checkpoints of one training under `root`."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Writes the newest state, then removes the older ones."""
        final = self.root / f"epoch-{progress.epochs:05d}"
        staging = self.root / f"writing-{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        model.save_weights(staging / _STATE)
        np.savez(staging / _BEST, *(progress.best or []))
        (staging / _HISTORY).write_text(json.dumps(progress.history))
        shutil.rmtree(final, ignore_errors=True)
        staging.rename(final)
        for other in self.root.iterdir():
            if other != final:
                shutil.rmtree(other, ignore_errors=True)

    def remove(self) -> None:
        """Removes all of them, and the folder around them where it holds no other training."""
        shutil.rmtree(self.root, ignore_errors=True)
        with suppress(OSError):
            self.root.parent.rmdir()

    @property
    def epochs(self) -> int:
        """Finished epochs of the newest one, 0 if there is none."""
        newest = self._newest()
        return int(newest.name.removeprefix("epoch-")) if newest else 0

    def _newest(self) -> Path | None:
        return max(self.root.glob("epoch-*"), default=None)

    def restore(self, model: keras.Model) -> Progress:
        """Puts the newest state into a compiled, built model; an empty Progress if none."""
        newest = self._newest()
        if newest is None:
            return Progress()
        model.optimizer.build(model.trainable_variables)
        model.load_weights(newest / _STATE)
        with np.load(newest / _BEST) as arrays:
            best = [arrays[name] for name in arrays.files]
        return Progress(json.loads((newest / _HISTORY).read_text()), best)
