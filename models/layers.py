"""The layers of a Vision Transformer, in keras and keras.ops alone.

Legend of shapes: B images, S pixels a side, P patch side, N patches, T tokens (N, one more with
a class token), D width, H heads, M hidden units of the MLP.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from models.activation import activate
from models.config import CHANNELS, child_seed
from models.dropout import Dropout
from models.gradients import attend
from models.linear import PACKAGE, Convolution, Linear, add_offset


def dense(units: int, seed: int, use_bias: bool = True, **options: Any) -> Linear:
    """A Linear layer with Glorot-uniform kernel drawn from `seed` and zero bias."""
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return Linear(units, use_bias=use_bias, kernel_initializer=initializer, **options)


class SeededLayer(keras.layers.Layer):
    """A layer whose initial weights and dropout follow from `seed` and the names of its parts."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed

    def part(self, name: str) -> dict[str, Any]:
        """Name, seed and dtype policy of a sub-layer called `name`."""
        return {"name": name, "seed": child_seed(self.seed, name), "dtype": self.dtype_policy}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(PACKAGE)
class PatchStem(SeededLayer):
    """Cuts (B, S, S, 3) images into squares and maps each linearly: (B, N, D).

    A convolution whose stride is its kernel size; arXiv 2010.11929, equation 1. Its kernel,
    flattened to (P * P * 3, D), is the weight of the same linear map on flattened patches, and
    starts as that weight would: a convolution's own Glorot-uniform is 3.7 times smaller where P
    is 6 and D 64.
    """

    def __init__(self, patch_size: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.patch_size = patch_size
        self.width = width
        limit = math.sqrt(6.0 / (patch_size**2 * CHANNELS + width))
        seed = child_seed(self.seed, "projection")
        self.projection = Convolution(
            width,
            patch_size,
            strides=patch_size,
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit, seed=seed),
            name="projection",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.projection.build(input_shape)

    def call(self, images: Any) -> Any:
        grid = self.projection(images)  # (B, S/P, S/P, D)
        return ops.reshape(grid, (-1, grid.shape[1] * grid.shape[2], self.width))  # (B, N, D)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "patch_size": self.patch_size, "width": self.width}


@keras.saving.register_keras_serializable(PACKAGE)
class ConvStem(SeededLayer):
    """A 3 x 3 convolution, ReLU and 3/2 max pooling for each entry of `channels`: (B, N, D).

    The tokenizer of arXiv 2104.05704, with a bias in the convolutions, which it does not have.
    """

    def __init__(self, channels: list[int], **options: Any) -> None:
        super().__init__(**options)
        self.channels = list(channels)
        self.convolutions = [
            Convolution(
                count,
                3,
                padding="same",
                kernel_initializer=keras.initializers.HeNormal(seed=child_seed(self.seed, index)),
                name=f"convolution_{index}",
                dtype=self.dtype_policy,
            )
            for index, count in enumerate(self.channels)
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        batch, height, width, channels = input_shape
        for convolution, count in zip(self.convolutions, self.channels, strict=True):
            convolution.build((batch, height, width, channels))
            channels = count

    def call(self, images: Any) -> Any:
        x = images
        for convolution in self.convolutions:
            # Bias and ReLU change no order, so they can follow the pooling, on a quarter as much.
            pooled = ops.max_pool(convolution.product(x), 3, strides=2, padding="same")
            x = ops.relu(add_offset(pooled, convolution.bias))
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2], self.channels[-1]))  # (B, N, D)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable(PACKAGE)
class TokenEmbedding(SeededLayer):
    """Puts a class token first, if asked to, and adds positions: (B, N, D) -> (B, T, D).

    Both are weights of this layer, so they are trained, saved and restored. The class token
    starts at zero, positions at normal numbers with standard deviation 0.02.
    """

    def __init__(self, class_token: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.has_class_token = class_token

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, patches, width = input_shape
        if patches is None or width is None:
            raise ValueError(f"expected a fixed number of patches and width, got {input_shape}")
        if self.has_class_token:
            self.class_token = self.add_weight(
                shape=(1, 1, width), initializer="zeros", name="class_token"
            )
        self.positions = self.add_weight(
            shape=(1, patches + int(self.has_class_token), width),
            initializer=keras.initializers.RandomNormal(
                stddev=0.02, seed=child_seed(self.seed, "positions")
            ),
            name="positions",
        )

    def call(self, patches: Any) -> Any:
        offset = ops.cast(ops.convert_to_tensor(self.positions), patches.dtype)
        if self.has_class_token:
            patches = ops.pad(patches, ((0, 0), (1, 0), (0, 0)))  # (B, T, D)
            first = ops.cast(self.class_token, patches.dtype) + offset[:, :1]
            offset = ops.concatenate([first, offset[:, 1:]], axis=1)  # (1, T, D)
        return patches + offset  # (B, T, D)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_token": self.has_class_token}


@keras.saving.register_keras_serializable(PACKAGE)
class Attention(SeededLayer):
    """Multi-head self-attention with one projection for queries, keys and values.

    softmax(Q K^T / sqrt(D / H)) V in each head, then a linear output; arXiv 1706.03762,
    equation 1. The projection's columns are ordered (query | key | value) x head x D / H.
    """

    def __init__(
        self,
        heads: int,
        qkv_bias: bool = True,
        attention_dropout: float = 0.0,
        projection_dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.heads = heads
        self.qkv_bias = qkv_bias
        self.attention_dropout = attention_dropout
        self.projection_dropout = projection_dropout

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = int(input_shape[-1] or 0)
        self.qkv = dense(3 * width, use_bias=self.qkv_bias, **self.part("qkv"))
        self.qkv.build(input_shape)
        self.output_projection = dense(width, **self.part("output"))
        self.output_projection.build(input_shape)
        self.drop_weights = Dropout(self.attention_dropout, **self.part("attention_dropout"))
        self.drop_output = Dropout(self.projection_dropout, **self.part("projection_dropout"))

    def call(self, x: Any, affine: Any = None, training: bool | None = None) -> Any:
        _, tokens, width = x.shape
        size = width // self.heads
        # Scaling the queries' weights costs D * D products, scaling the scores T * T * H an image.
        factors = np.repeat(np.array([1.0 / math.sqrt(size), 1.0, 1.0], "float32"), width)
        qkv = self.qkv(x, affine=affine, factors=ops.cast(factors, x.dtype))
        qkv = ops.reshape(qkv, (-1, tokens, 3, self.heads, size))  # (B, T, 3, H, D/H)
        query, key, value = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3)  # (B, H, T, D/H)
        mixed = self._attend(query, key, value, training)
        heads = ops.transpose(mixed, (0, 2, 1, 3))  # (B, T, H, D/H)
        out = self.output_projection(ops.reshape(heads, (-1, tokens, width)))  # (B, T, D)
        return self.drop_output(out, training=training)

    def _attend(self, query: Any, key: Any, value: Any, training: bool | None) -> Any:
        if training and not self.attention_dropout:
            return attend(query, key, value)
        scores = ops.matmul(query, ops.swapaxes(key, 2, 3))
        weights = self.drop_weights(ops.softmax(scores, axis=-1), training=training)  # (B, H, T, T)
        return ops.matmul(weights, value)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "heads": self.heads,
            "qkv_bias": self.qkv_bias,
            "attention_dropout": self.attention_dropout,
            "projection_dropout": self.projection_dropout,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class MLP(SeededLayer):
    """Two linear layers with GELU between them: (B, T, D) -> (B, T, M) -> (B, T, D).

    Dropout follows each layer; with `output_activation` the second has GELU too.
    """

    def __init__(
        self,
        hidden: int,
        dropout: float = 0.0,
        output_activation: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden = hidden
        self.dropout = dropout
        self.output_activation = output_activation

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = int(input_shape[-1] or 0)
        self.expand = dense(self.hidden, **self.part("expand"))
        self.expand.build(input_shape)
        self.contract = dense(width, **self.part("contract"))
        self.contract.build((*input_shape[:-1], self.hidden))
        self.drop_hidden = Dropout(self.dropout, **self.part("hidden_dropout"))
        self.drop_output = Dropout(self.dropout, **self.part("output_dropout"))

    def call(self, x: Any, affine: Any = None, training: bool | None = None) -> Any:
        if training:
            return self._train(x, affine)
        out = self.contract(ops.gelu(self.expand(x, affine=affine), approximate=False))
        return ops.gelu(out, approximate=False) if self.output_activation else out

    def _train(self, x: Any, affine: Any) -> Any:
        """The same with dropout, in fewer passes over memory."""
        hidden = self._activate(self.drop_hidden, *self.expand.product(x, affine))  # (B, T, M)
        if self.output_activation:
            return self._activate(self.drop_output, *self.contract.product(hidden))  # (B, T, D)
        return self.drop_output(self.contract(hidden), training=True)

    @staticmethod
    def _activate(drop: Dropout, product: Any, bias: Any) -> Any:
        return activate(product, bias, drop.draw(ops.shape(product)), drop.rate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "dropout": self.dropout,
            "output_activation": self.output_activation,
        }
