"""The named variants, one row each, with where each comes from."""

import dataclasses
import difflib
from typing import Any

from models.config import ViTConfig


def _row(name: str, shape: tuple[int, int, int, int, int, int], **options: Any) -> ViTConfig:
    size, patch, width, depth, heads, mlp = shape
    return ViTConfig(name, size, patch, width, depth, heads, mlp, **options)


_B16 = {"qkv_bias": False}
_CIFAR = {"mlp_output_activation": True, "dropout": 0.1}
_CCT = {"stem": "conv", "pooling": "sequence"}

# fmt: off
_TABLE = (
    #                    size patch width depth heads  mlp
    _row("vit_b16",      (224,  16,  768,   12,   12, 3072), **_B16),
    _row("vit_cifar",    ( 72,   6,   64,    8,    4,  128), **_CIFAR),
    _row("cct_3_3x2",    ( 32,   4,  128,    3,    4,  256), **_CCT, stem_channels=(64, 128)),
    _row("cct_7_3x1",    ( 32,   2,  256,    7,    4,  512), **_CCT, stem_channels=(256,)),
    _row("vit_lite_7_4", ( 32,   4,  256,    7,    4,  512)),
    _row("vit_demo",     ( 32,   4,   64,    2,    2,  128), **_CCT, stem_channels=(32, 64)),
    _row("vit_tiny",     ( 32,   8,   16,    2,    2,   32)),
)
SOURCES = {
    "vit_b16":      "ViT-B/16, arXiv 2010.11929, table 1; qkv without bias, as the article has it",
    "vit_cifar":    "the article's model for CIFAR-10, after Keras's ViT example",
    "cct_3_3x2":    "CCT, arXiv 2104.05704: 3 blocks, two 3 x 3 convolutions; MLP ratio 2",
    "cct_7_3x1":    "CCT-7/3x1, arXiv 2104.05704, table 1",
    "vit_lite_7_4": "ViT-Lite-7/4, arXiv 2104.05704, table 1",
    "vit_demo":     "for the demo: a conv stem that learns CIFAR-10 in minutes on 2 cores",
    "vit_tiny":     "for tests: every part, few weights",
}
# fmt: on
VARIANTS = {config.name: config for config in _TABLE}


def variant(name: str, **overrides: Any) -> ViTConfig:
    """The variant called `name`, with some fields of `ViTConfig` replaced.

    Raises:
        ValueError: no such variant, no such field, or a value that the config refuses.
    """
    if name not in VARIANTS:
        raise ValueError(_unknown("variant", name, list(VARIANTS)))
    fields = [item.name for item in dataclasses.fields(ViTConfig)]
    for key in overrides:
        if key not in fields:
            raise ValueError(_unknown("field of a variant", key, fields))
    return dataclasses.replace(VARIANTS[name], **overrides)


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"no {what} is called {name!r}{hint}; known are {', '.join(known)}"
