"""The optimizer: AdamW (arXiv 1711.05101) or Muon, with warm-up, schedule and selective decay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

SCHEDULES = ("constant", "cosine")
OPTIMIZERS = ("adamw", "muon")
# Outputs, not maps between features: Muon is not for them.
_NOT_MUON = [r"^head/", r"^pooling/"]


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights are updated.

    Raises:
        ValueError: a field is out of its range.
    """

    name: str = field(
        default="adamw",
        metadata=_help("adamw, or muon for the blocks' matrices (arXiv 2502.16982) beside adamw"),
    )
    learning_rate: float = field(default=1e-3, metadata=_help("highest learning rate, above 0"))
    weight_decay: float = field(
        default=0.05, metadata=_help("share of a weight taken off, times the learning rate")
    )
    decay_all: bool = field(
        default=False,
        metadata=_help("decay every weight, not only the kernels of linear layers"),
    )
    schedule: str = field(
        default="cosine", metadata=_help("learning rate after warm-up: constant or cosine (to 0)")
    )
    warmup_fraction: float = field(
        default=0.08, metadata=_help("share of all steps in which the rate rises, 0 to below 1")
    )
    beta_1: float = field(default=0.9, metadata=_help("memory of the gradient's mean"))
    beta_2: float = field(default=0.999, metadata=_help("memory of the gradient's square"))
    clipnorm: float = field(
        default=0.0, metadata=_help("largest norm of the whole gradient; 0 leaves it as it is")
    )

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: expected above 0, got {self.learning_rate!r}")
        for name in ("weight_decay", "clipnorm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)!r}")
        for name in ("warmup_fraction", "beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 0 to below 1, got {getattr(self, name)!r}")
        for name, allowed in (("schedule", SCHEDULES), ("name", OPTIMIZERS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def build_optimizer(
    config: OptimizerConfig, total_steps: int, model: keras.Model
) -> keras.optimizers.Optimizer:
    """AdamW or Muon for `model` over `total_steps` updates.

    Without `decay_all` only kernels decay: not biases, norms, class token and positions. Keras
    does not save that choice with the optimizer, so resume by building it again.

    Raises:
        ValueError: `total_steps` is below 1.
    """
    if total_steps < 1:
        raise ValueError(f"total_steps: expected at least 1, got {total_steps}")
    optimizer = _unselective(config, total_steps)
    if not config.decay_all:
        undecayed = [weight for weight in model.trainable_variables if weight.name != "kernel"]
        optimizer.exclude_from_weight_decay(var_list=undecayed)
    return optimizer


def _unselective(config: OptimizerConfig, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer, with its decay on every weight."""
    import keras

    shared = {
        "learning_rate": learning_rate(config, total_steps),
        "weight_decay": config.weight_decay,
        "global_clipnorm": config.clipnorm or None,
    }
    if config.name == "adamw":
        return keras.optimizers.AdamW(beta_1=config.beta_1, beta_2=config.beta_2, **shared)
    return keras.optimizers.Muon(
        adam_weight_decay=config.weight_decay,
        adam_beta_1=config.beta_1,
        adam_beta_2=config.beta_2,
        exclude_layers=_NOT_MUON,
        **shared,
    )


def learning_rate(
    config: OptimizerConfig, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The schedule, or the plain rate where it never changes."""
    from models.schedule import WarmupSchedule

    warmup = round(config.warmup_fraction * total_steps)
    if config.schedule == "constant" and not warmup:
        return config.learning_rate
    return WarmupSchedule(config.learning_rate, warmup, total_steps, config.schedule)
