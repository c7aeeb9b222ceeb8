"""Shapes, weights and arithmetic of a Vision Transformer, from its configuration alone.

Arithmetic is that of the forward pass. A multiply-add is one multiplication and one
addition of a linear layer, convolution or attention product. FLOPs are two for each of these, and
for every element: 1 for an added bias, residual, position or ReLU, 8 for a layer
normalisation, 5 for a softmax, 8 for a GELU and 9 for a 3 x 3 maximum.
"""

import math
from dataclasses import dataclass

from models.config import CHANNELS, ViTConfig

NORM = 8
SOFTMAX = 5
GELU = 8
MAX_POOL = 9


@dataclass(frozen=True)
class Counts:
    """What one part of a model, or all of it, gives, holds and does for one image.

    `shape` is that of its output, `elementwise` are the FLOPs that are not multiply-adds.
    """

    name: str
    shape: tuple[int, ...]
    weights: int
    multiply_adds: int
    elementwise: int

    @property
    def flops(self) -> int:
        """Floating-point operations, two for each multiply-add."""
        return 2 * self.multiply_adds + self.elementwise

    def of_batch(self, size: int) -> "Counts":
        """The same for `size` images at once, by which the output's shape then begins."""
        return Counts(
            self.name,
            (size, *self.shape),
            self.weights,
            size * self.multiply_adds,
            size * self.elementwise,
        )


def count(config: ViTConfig, num_classes: int) -> Counts:
    """The whole model with `num_classes` outputs."""
    parts = count_parts(config, num_classes)
    return Counts(
        config.name,
        parts[-1].shape,
        sum(part.weights for part in parts),
        sum(part.multiply_adds for part in parts),
        sum(part.elementwise for part in parts),
    )


def count_parts(config: ViTConfig, num_classes: int) -> list[Counts]:
    """The layers of the model in their order, under the names that `build_vit` gives them."""
    sequence = (config.tokens, config.width)
    length = math.prod(sequence)
    token = config.width if config.has_class_token else 0
    blocks = [_block(config, f"block_{index}") for index in range(config.depth)]
    return [
        _stem(config),
        Counts("embedding", sequence, length + token, 0, length),
        *blocks,
        Counts("final_norm", sequence, 2 * config.width, 0, NORM * length),
        _pooling(config),
        _linear("head", (num_classes,), config.width),
    ]


def _linear(name: str, shape: tuple[int, ...], inputs: int, bias: bool = True) -> Counts:
    """A linear layer from vectors of `inputs` numbers to those along the last axis of `shape`."""
    *rows, outputs = shape
    added = outputs if bias else 0
    size = math.prod(rows)
    return Counts(name, shape, inputs * outputs + added, size * inputs * outputs, size * added)


def _stem(config: ViTConfig) -> Counts:
    if config.stem == "patch":
        pixels = config.patch_size**2 * CHANNELS
        return _linear("stem", (config.patches, config.width), pixels)
    size, inputs = config.image_size, CHANNELS
    weights = products = elementwise = 0
    for outputs in config.stem_channels:
        convolution = _linear("", (size, size, outputs), 9 * inputs)
        weights += convolution.weights
        products += convolution.multiply_adds
        elementwise += convolution.elementwise + size**2 * outputs
        size, inputs = size // 2, outputs
        elementwise += MAX_POOL * size**2 * outputs
    return Counts("stem", (size**2, inputs), weights, products, elementwise)


def _block(config: ViTConfig, name: str) -> Counts:
    tokens, width, hidden = config.tokens, config.width, config.mlp_width
    linears = (
        _linear("qkv", (tokens, 3 * width), width, config.qkv_bias),
        _linear("output", (tokens, width), width),
        _linear("expand", (tokens, hidden), width),
        _linear("contract", (tokens, width), hidden),
    )
    scores = config.heads * tokens**2
    activated = hidden + (width if config.mlp_output_activation else 0)
    # Two norms and two residuals; one scaling of the queries.
    elementwise = (2 * NORM + 2 + 1) * tokens * width + SOFTMAX * scores + GELU * tokens * activated
    return Counts(
        name,
        (tokens, width),
        sum(linear.weights for linear in linears) + 4 * width,
        sum(linear.multiply_adds for linear in linears) + 2 * tokens**2 * width,
        sum(linear.elementwise for linear in linears) + elementwise,
    )


def _pooling(config: ViTConfig) -> Counts:
    length = config.tokens * config.width
    pooled = (config.width,)
    if config.pooling == "cls":
        return Counts("pooling", pooled, 0, 0, 0)
    if config.pooling == "mean":
        return Counts("pooling", pooled, 0, 0, length)
    score = _linear("", (config.tokens, 1), config.width)
    softmax = SOFTMAX * config.tokens
    products = score.multiply_adds + length
    return Counts("pooling", pooled, score.weights, products, score.elementwise + softmax)
