"""Options of data preparation; light, because the command line reads them."""

from dataclasses import dataclass, field

from components.contract import SPLITS
from components.settings import MAX_PIXELS

_SYNTHETIC_CLASSES = 10


@dataclass(frozen=True)
class FolderConfig:
    """How a folder of images becomes a data set."""

    skip_bad: bool = field(default=False, metadata={"help": "leave bad files out, and list them"})
    eval_fraction: float = field(
        default=0.1, metadata={"help": "share of each class for evaluation while training"}
    )
    test_fraction: float = field(
        default=0.1, metadata={"help": "share of each class for the final evaluation"}
    )
    min_per_class: int = field(
        default=10, metadata={"help": "least number of different images of a class"}
    )

    max_pixels: int = field(
        default=MAX_PIXELS,
        metadata={"help": "largest width x height; then run with transform.max_pixels as large"},
    )

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= 2**29:
            raise ValueError(f"max_pixels must be 1 .. 2**29, got {self.max_pixels}")
        for name in ("eval_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be above 0 and below 1, got {getattr(self, name)}")
        if self.eval_fraction + self.test_fraction > 0.9:
            raise ValueError(
                "eval_fraction and test_fraction together must be at most 0.9, "
                f"got {self.eval_fraction + self.test_fraction}"
            )
        if self.min_per_class < len(SPLITS):
            raise ValueError(
                f"min_per_class must be {len(SPLITS)} (one image a split) or more, "
                f"got {self.min_per_class}"
            )


@dataclass(frozen=True)
class SyntheticConfig:
    """How many images are generated, and how."""

    train: int = field(default=2000, metadata={"help": "images for training"})
    eval: int = field(default=400, metadata={"help": "images for evaluation while training"})
    test: int = field(default=400, metadata={"help": "images for the final evaluation"})
    size: int = field(default=32, metadata={"help": "both sides in pixels"})
    seed: int = field(default=1, metadata={"help": "another seed gives other images"})

    def __post_init__(self) -> None:
        for name in ("train", "eval", "test"):
            if not _SYNTHETIC_CLASSES <= getattr(self, name) <= 10**7:
                raise ValueError(
                    f"{name} must be {_SYNTHETIC_CLASSES} (one image a class) .. 10000000, "
                    f"got {getattr(self, name)}"
                )
        if not 8 <= self.size <= 1024:
            raise ValueError(f"size must be 8 .. 1024 pixels, got {self.size}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
