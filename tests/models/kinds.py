"""One small model of every kind of option."""

from typing import Any

from models.config import ViTConfig

BASE = ViTConfig(image_size=8, patch_size=4, width=12, depth=2, heads=3, mlp_width=20)
CONV: dict[str, Any] = {"stem": "conv", "stem_channels": (6, 12)}
KINDS: dict[str, dict[str, Any]] = {
    "patch stem, class token": {},
    "mean pooling": {"pooling": "mean"},
    "sequence pooling": {"pooling": "sequence"},
    "no qkv bias": {"qkv_bias": False},
    "gelu after both": {"mlp_output_activation": True},
    "conv stem, class token": CONV,
    "conv stem, sequence pooling": {**CONV, "pooling": "sequence"},
    "conv stem, one convolution": {"stem": "conv", "stem_channels": (12,), "patch_size": 2},
    "dropout is off in inference": {"dropout": 0.5, "embedding_dropout": 0.5},
    "attention dropout is off": {"attention_dropout": 0.5, "projection_dropout": 0.5},
    "another epsilon": {"norm_epsilon": 0.1},
}
