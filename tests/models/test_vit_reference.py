"""The model against an independent implementation in NumPy, float64.

Legend of shapes: B images, S pixels a side, P patch side, N patches, T tokens, D width, H heads.
"""

import dataclasses
import math

import keras
import numpy as np
import pytest

from models.blocks import Block
from models.config import ViTConfig
from models.layers import MLP, Attention
from models.vit import build_vit
from tests.models.kinds import BASE, KINDS

TOLERANCE = 1e-5

Weights = dict[str, np.ndarray]


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    exponentials = np.exp(x - x.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)


def norm(x: np.ndarray, weights: Weights, name: str, epsilon: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return scaled * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def attention(x: np.ndarray, weights: Weights, heads: int, name: str) -> np.ndarray:
    """One image and one head at a time; x (B, T, D)."""
    size = x.shape[-1] // heads
    query, key, value = np.split(linear(x, weights, f"{name}/qkv"), 3, axis=-1)
    mixed = np.zeros_like(x)
    for image in range(len(x)):
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[image, :, own] @ key[image, :, own].T / math.sqrt(size)  # (T, T)
            mixed[image, :, own] = softmax(scores, axis=1) @ value[image, :, own]
    return linear(mixed, weights, f"{name}/output")


def mlp(x: np.ndarray, weights: Weights, config: ViTConfig, name: str) -> np.ndarray:
    hidden = gelu(linear(x, weights, f"{name}/expand"))
    out = linear(hidden, weights, f"{name}/contract")
    return gelu(out) if config.mlp_output_activation else out


def block(x: np.ndarray, weights: Weights, config: ViTConfig, name: str) -> np.ndarray:
    normal = norm(x, weights, f"{name}/attention_norm", config.norm_epsilon)
    x = x + attention(normal, weights, config.heads, f"{name}/attention")
    normal = norm(x, weights, f"{name}/mlp_norm", config.norm_epsilon)
    return x + mlp(normal, weights, config, f"{name}/mlp")


def patch_stem(images: np.ndarray, weights: Weights, config: ViTConfig) -> np.ndarray:
    side, rows = config.patch_size, []
    for top in range(0, config.image_size, side):
        for left in range(0, config.image_size, side):
            square = images[:, top : top + side, left : left + side]
            rows.append(square.reshape(len(images), -1))
    kernel = weights["stem/projection/kernel"].reshape(-1, config.width)
    return np.stack(rows, axis=1) @ kernel + weights["stem/projection/bias"]


def same_windows(x: np.ndarray, stride: int, fill: float) -> np.ndarray:
    """3 x 3 windows as TensorFlow's "same" padding takes them: (B, out, out, 3, 3, C)."""
    size = x.shape[1]
    out = -(-size // stride)
    before = ((out - 1) * stride + 3 - size) // 2
    padded = np.pad(x, ((0, 0), (before, 3), (before, 3), (0, 0)), constant_values=fill)
    starts = range(0, out * stride, stride)
    rows = [[padded[:, i : i + 3, j : j + 3] for j in starts] for i in starts]
    return np.moveaxis(np.array(rows), 2, 0)


def conv_stem(images: np.ndarray, weights: Weights, config: ViTConfig) -> np.ndarray:
    x = images
    for index in range(len(config.stem_channels)):
        name = f"stem/convolution_{index}"
        windows = same_windows(x, 1, 0.0)
        x = np.einsum("bijklc,klcd->bijd", windows, weights[f"{name}/kernel"])
        x = np.maximum(x + weights[f"{name}/bias"], 0.0)
        x = same_windows(x, 2, -np.inf).max(axis=(3, 4))
    return x.reshape(len(images), -1, config.width)


def forward(images: np.ndarray, weights: Weights, config: ViTConfig) -> np.ndarray:
    stem = conv_stem if config.stem == "conv" else patch_stem
    x = stem(images, weights, config)
    if config.pooling == "cls":
        token = np.broadcast_to(weights["embedding/class_token"], (len(x), 1, config.width))
        x = np.concatenate([token, x], axis=1)
    x = x + weights["embedding/positions"]
    for index in range(config.depth):
        x = block(x, weights, config, f"block_{index}")
    x = norm(x, weights, "final_norm", config.norm_epsilon)
    if config.pooling == "cls":
        pooled = x[:, 0]
    elif config.pooling == "mean":
        pooled = x.mean(axis=1)
    else:
        pooled = (softmax(linear(x, weights, "pooling/score"), axis=1) * x).sum(axis=1)
    return linear(pooled, weights, "head")


def randomise(layer: keras.layers.Layer, seed: int = 5) -> Weights:
    """Gives every weight, biases too, random values; returns them in float64 by path."""
    random = np.random.default_rng(seed)
    values = {}
    for weight in layer.trainable_weights:
        weight.assign(random.normal(0.0, 0.5, weight.shape) + (weight.name == "gamma"))
        values[weight.path] = np.asarray(weight, np.float64)
    return values


def relative_error(actual: object, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / np.abs(expected).max())


def tokens(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 5, 12)).astype("float32")


@pytest.mark.parametrize("bias", [True, False])
def test_attention_agrees_with_reference(bias: bool) -> None:
    layer = Attention(3, qkv_bias=bias, name="attention")
    x = tokens()
    layer.build((None, 5, 12))
    weights = randomise(layer)
    expected = attention(x.astype("float64"), weights, 3, "attention")
    assert relative_error(layer(x), expected) < TOLERANCE


@pytest.mark.parametrize("after", [True, False])
def test_mlp_agrees_with_reference(after: bool) -> None:
    config = dataclasses.replace(BASE, mlp_output_activation=after)
    layer = MLP(20, 0.0, after, name="mlp")
    x = tokens()
    layer.build((None, 5, 12))
    expected = mlp(x.astype("float64"), randomise(layer), config, "mlp")
    assert relative_error(layer(x), expected) < TOLERANCE


def test_block_agrees_with_reference() -> None:
    layer = Block(BASE, name="block")
    x = tokens()
    layer.build((None, 5, 12))
    expected = block(x.astype("float64"), randomise(layer), BASE, "block")
    assert relative_error(layer(x), expected) < TOLERANCE


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_forward_agrees_with_reference(options: dict) -> None:
    config = dataclasses.replace(BASE, **options)
    model = build_vit(config, 7, 0)
    weights = randomise(model)
    images = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype("float32")
    expected = forward(images.astype("float64"), weights, config)
    assert relative_error(model(images, training=False), expected) < TOLERANCE


def test_every_choice_of_the_config_is_compared() -> None:
    compared = {name for options in KINDS.values() for name in options}
    sizes = {"name", "image_size", "width", "depth", "heads", "mlp_width"}
    assert compared | sizes == {field.name for field in dataclasses.fields(ViTConfig)}
