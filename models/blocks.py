"""What is put together from the layers: the transformer block, and pooling.

Legend of shapes: B images, T tokens, D width.
"""

from typing import Any

import keras
from keras import ops

from models.config import ViTConfig
from models.layers import MLP, Attention, SeededLayer, dense
from models.linear import PACKAGE
from models.norm import LayerNorm


@keras.saving.register_keras_serializable(PACKAGE)
class Block(SeededLayer):
    """A pre-norm transformer block: (B, T, D) -> (B, T, D).

    x + attention(norm(x)), then x + mlp(norm(x)); arXiv 2010.11929, equations 2 and 3.
    """

    def __init__(self, vit: ViTConfig | dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.vit = vit if isinstance(vit, ViTConfig) else ViTConfig(**vit)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        vit = self.vit
        self.attention_norm = self._norm("attention_norm")
        self.attention = Attention(
            vit.heads,
            vit.qkv_bias,
            vit.attention_dropout,
            vit.projection_dropout,
            **self.part("attention"),
        )
        self.mlp_norm = self._norm("mlp_norm")
        self.mlp = MLP(
            vit.mlp_width,
            vit.dropout,
            vit.mlp_output_activation,
            **self.part("mlp"),
        )
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.mlp):
            layer.build(input_shape)

    def _norm(self, name: str) -> LayerNorm:
        return LayerNorm(epsilon=self.vit.norm_epsilon, name=name, dtype=self.dtype_policy)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = x + self._apply(self.attention, self.attention_norm, x, training)
        return x + self._apply(self.mlp, self.mlp_norm, x, training)

    @staticmethod
    def _apply(part: Attention | MLP, norm: LayerNorm, x: Any, training: bool | None) -> Any:
        """part(norm(x)); in training the norm's scale and shift are left to `part`."""
        if not training:
            return part(norm(x), training=training)
        return part(norm.standardised(x), affine=(norm.gamma, norm.beta), training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vit": self.vit.to_dict()}


@keras.saving.register_keras_serializable(PACKAGE)
class TokenPooling(SeededLayer):
    """One vector of each sequence: (B, T, D) -> (B, D).

    `cls` takes the first token, `mean` the mean of all. `sequence` is a mean whose weights are
    the softmax over the tokens of one learnt linear score each (arXiv 2104.05704, section 3.2).
    """

    def __init__(self, pooling: str, **options: Any) -> None:
        super().__init__(**options)
        self.pooling = pooling

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.pooling == "sequence":
            self.score = dense(1, **self.part("score"))
            self.score.build(input_shape)

    def call(self, x: Any) -> Any:
        if self.pooling == "cls":
            return x[:, 0]
        if self.pooling == "mean":
            return ops.mean(x, axis=1)
        weights = ops.softmax(self.score(x), axis=1)  # (B, T, 1)
        return ops.squeeze(ops.matmul(ops.swapaxes(weights, 1, 2), x), 1)  # (B, D)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pooling": self.pooling}
