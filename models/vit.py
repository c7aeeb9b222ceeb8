"""A Vision Transformer for any `ViTConfig`."""

from typing import Any

import keras

from models.blocks import Block, TokenPooling
from models.config import CHANNELS, ViTConfig, child_seed
from models.dropout import Dropout
from models.layers import ConvStem, PatchStem, TokenEmbedding, dense
from models.norm import LayerNorm

__all__ = ["ViTConfig", "build_vit"]


def build_vit(config: ViTConfig, num_classes: int, seed: int = 0, dtype: Any = None) -> keras.Model:
    """The model: normalised images (B, S, S, 3) to logits (B, num_classes), both float32.

    Equal seeds give equal weights, on any machine, one Keras backend at a time.

    Args:
        config: The architecture; S is its `image_size`.
        num_classes: Outputs, at least 2.
        seed: Of the initial weights and of dropout, 0 or more.
        dtype: A Keras dtype policy such as "mixed_bfloat16"; None takes the global one. The
            logits are float32 under any.

    Raises:
        ValueError: fewer than 2 classes, or a negative seed.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes: expected at least 2 to tell apart, got {num_classes}")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    images = keras.Input((config.image_size, config.image_size, CHANNELS), name="image")
    tokens = _encode(images, config, seed, policy)
    pooling = TokenPooling(config.pooling, **_part("pooling", seed, policy))
    # Logits in bfloat16 would carry three digits into the loss.
    head = dense(num_classes, name="head", seed=child_seed(seed, "head"), dtype="float32")
    return keras.Model(images, head(pooling(tokens)), name=config.name)


def _encode(images: Any, config: ViTConfig, seed: int, policy: Any) -> Any:
    """Tokens of the last block, normalised: (B, T, D)."""
    x = _stem(config, seed, policy)(images)
    x = TokenEmbedding(config.has_class_token, **_part("embedding", seed, policy))(x)
    if config.embedding_dropout:
        x = Dropout(config.embedding_dropout, **_part("embedding_dropout", seed, policy))(x)
    for index in range(config.depth):
        x = Block(config, **_part(f"block_{index}", seed, policy))(x)
    return LayerNorm(epsilon=config.norm_epsilon, name="final_norm", dtype=policy)(x)


def _stem(config: ViTConfig, seed: int, policy: Any) -> keras.layers.Layer:
    part = _part("stem", seed, policy)
    if config.stem == "conv":
        return ConvStem(list(config.stem_channels), **part)
    return PatchStem(config.patch_size, config.width, **part)


def _part(name: str, seed: int, policy: Any) -> dict[str, Any]:
    return {"name": name, "seed": child_seed(seed, name), "dtype": policy}
