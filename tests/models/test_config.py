"""The configuration: what it refuses, what it derives."""

import dataclasses
import json
import subprocess
import sys

import pytest

from models.config import ViTConfig, child_seed
from models.variants import VARIANTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width: expected a whole number of at least 1, got 0"),
        ({"depth": 1.5}, "depth: expected a whole number"),
        ({"heads": True}, "heads: expected a whole number"),
        ({"dropout": 1.0}, "dropout: expected a rate from 0 to below 1, got 1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout: expected a rate"),
        ({"dropout": float("nan")}, "dropout: expected a rate"),
        ({"norm_epsilon": 0.0}, "norm_epsilon: expected 0 to 1"),
        ({"pooling": "max"}, "pooling: expected one of cls, mean, sequence, got 'max'"),
        ({"stem": "linear"}, "stem: expected one of patch, conv, got 'linear'"),
        ({"image_size": 30}, "image_size 30 is not a multiple of patch_size 4"),
        ({"heads": 5}, "width 128 is not a multiple of heads 5"),
        ({"stem_channels": (64, 128)}, "expected none for a patch stem"),
        ({"stem": "conv"}, "stem_channels: expected positive numbers"),
        ({"stem": "conv", "stem_channels": (64, 64)}, "the last is the width 128"),
        ({"stem": "conv", "stem_channels": (128,)}, "patch_size: expected 2"),
    ],
)
def test_value_out_of_range_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViTConfig(**change)


def test_every_field_has_help() -> None:
    assert all(field.metadata["help"] for field in dataclasses.fields(ViTConfig))


def test_number_of_tokens_follows_from_sizes_and_pooling() -> None:
    with_token = ViTConfig(image_size=72, patch_size=6, pooling="cls")
    without = ViTConfig(image_size=72, patch_size=6, pooling="mean")
    assert (with_token.patches, with_token.tokens, without.tokens) == (144, 145, 144)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_config_survives_json(config: ViTConfig) -> None:
    assert ViTConfig(**json.loads(json.dumps(config.to_dict()))) == config


def test_parts_get_different_seeds() -> None:
    names = [f"block_{index}" for index in range(12)] + ["stem", "head", "embedding"]
    seeds = {child_seed(seed, name, part) for seed in range(3) for name in names for part in "ab"}
    assert len(seeds) == 3 * 15 * 2


def test_settings_load_without_keras() -> None:
    code = "import sys, models.optim, models.variants; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
