"""Settings of the stages: one frozen dataclass a stage, each field with its help.

They sit in one light module because the command line, the presets and the configuration
file read them without importing TensorFlow or TFX.
"""

from dataclasses import dataclass, field
from typing import Any

AUGMENTATIONS = ("none", "flip_rotate_zoom", "crop_flip")
MAX_PIXELS = 2**24
# Records of which the Trainer keeps what the model said; the serving check replays the first.
REPLAYABLE = 256
STRATEGIES = ("none", "mirrored", "multi_worker")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
XLA = ("chains", "step", "none")
_TRAINER_CHOICES = {
    "augmentation": AUGMENTATIONS,
    "precision": PRECISIONS,
    "xla": XLA,
    "strategy": STRATEGIES,
}
SPLIT_CHOICES = ("eval", "test")


def setting(default: Any, text: str) -> Any:
    """A dataclass field that carries its help text."""
    return field(default=default, metadata={"help": text})


def _require(ok: bool, name: str, expected: str, value: object) -> None:
    if not ok:
        raise ValueError(f"{name} must be {expected}, got {value!r}")


@dataclass(frozen=True)
class ValidationConfig:
    """The validation gate."""

    max_bad_records: int = setting(0, "bad records that are dropped and reported, not refused")
    schema: str = setting("", "a reviewed schema.pbtxt of your own; empty takes the project's")

    def __post_init__(self) -> None:
        _require(self.max_bad_records >= 0, "max_bad_records", "0 or more", self.max_bad_records)


@dataclass(frozen=True)
class TransformConfig:
    """Decoding, resizing and normalising."""

    max_pixels: int = setting(MAX_PIXELS, "largest width x height, read from an image's header")

    def __post_init__(self) -> None:
        _require(1 <= self.max_pixels <= 2**29, "max_pixels", "1 .. 2**29", self.max_pixels)


@dataclass(frozen=True)
class TrainerConfig:
    """The training loop; the optimizer has a section of its own."""

    epochs: int = setting(10, "passes over the training split")
    batch_size: int = setting(256, "images a step")
    augmentation: str = setting("none", f"one of {', '.join(AUGMENTATIONS)}")
    label_smoothing: float = setting(0.0, "0 .. 1, share of the label spread over all classes")
    seed: int = setting(1, "weights, order of the images, augmentation and dropout follow from it")
    precision: str = setting("float32", f"one of {', '.join(PRECISIONS)}")
    xla: str = setting(
        "chains",
        "what XLA compiles for training: chains (of element-wise operations), step (all) or none",
    )
    shuffle_buffer: int = setting(
        10_000,
        "records held in memory to shuffle among, encoded, or as many as fill 1 GiB",
    )
    init_from: str = setting(
        "", "start from these weights: a pushed version's folder or a .keras file; empty: anew"
    )
    strategy: str = setting(
        "none",
        "none: one device; mirrored: all GPUs of this machine; multi_worker: all processes "
        "that the environment variable TF_CONFIG names",
    )

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        _require(self.batch_size >= 1, "batch_size", "1 or more", self.batch_size)
        for name, allowed in _TRAINER_CHOICES.items():
            value = getattr(self, name)
            _require(value in allowed, name, f"one of {', '.join(allowed)}", value)
        _require(
            0 <= self.label_smoothing < 1,
            "label_smoothing",
            "0 or more and below 1",
            self.label_smoothing,
        )
        _require(self.shuffle_buffer >= 1, "shuffle_buffer", "1 or more", self.shuffle_buffer)
        _require(0 <= self.seed < 2**32, "seed", "0 .. 2**32 - 1", self.seed)


@dataclass(frozen=True)
class GateConfig:
    """What a model has to reach before it is pushed."""

    top_k: int = setting(5, "k of the gating top-k accuracy; with k classes or fewer, top-1 gates")
    top_k_accuracy: float = setting(0.5, "least accuracy, 0 .. 1; above 1 refuses every model")
    max_regression: float = setting(0.01, "how far below the latest blessed model it may lie")
    split: str = setting("test", "split it is measured on: eval while tuning, test to release")

    def __post_init__(self) -> None:
        _require(self.top_k >= 1, "top_k", "1 or more", self.top_k)
        _require(self.top_k_accuracy >= 0, "top_k_accuracy", "0 or more", self.top_k_accuracy)
        _require(self.max_regression >= 0, "max_regression", "0 or more", self.max_regression)
        _require(self.split in SPLIT_CHOICES, "split", "eval or test", self.split)


@dataclass(frozen=True)
class ServingCheckConfig:
    """The check that the exported model can be served, and gives what was trained."""

    examples: int = setting(32, "records of the eval split that are replayed")
    tolerance: float = setting(1e-4, "largest absolute difference of a probability")

    def __post_init__(self) -> None:
        _require(1 <= self.examples <= REPLAYABLE, "examples", f"1 .. {REPLAYABLE}", self.examples)
        _require(self.tolerance > 0, "tolerance", "above 0", self.tolerance)


@dataclass(frozen=True)
class PusherConfig:
    """Where a model that passed goes."""

    model_name: str = setting("vit", "folder under the serving directory, TF Serving's model_name")
    keep: int = setting(0, "newest versions that are kept, 0 keeps all")

    def __post_init__(self) -> None:
        plain = self.model_name.replace("-", "").replace("_", "").replace(".", "")
        _require(
            plain.isalnum(), "model_name", "letters, digits, '.', '-' and '_'", self.model_name
        )
        _require(self.keep >= 0, "keep", "0 or more", self.keep)
