"""The learning rate of each step."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("vitpipe")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from 0 over `warmup_steps`, then `peak` for ever or half a cosine to 0.

    Step 0 already learns: it gets `peak / warmup_steps`. The cosine reaches 0 at `total_steps`
    and stays there (arXiv 1608.03983, one period).
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, kind: str) -> None:
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.kind = kind

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rise = ops.minimum((step + 1.0) / max(self.warmup_steps, 1), 1.0)
        if self.kind == "constant":
            return self.peak * rise
        span = max(self.total_steps - self.warmup_steps, 1)
        done = ops.clip((step - self.warmup_steps) / span, 0.0, 1.0)
        return self.peak * rise * 0.5 * (1.0 + ops.cos(math.pi * done))

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "kind": self.kind,
        }
