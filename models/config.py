"""What a Vision Transformer is made of, as one frozen dataclass.

No Keras here: whatever reads settings can import this without paying for it.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

POOLINGS = ("cls", "mean", "sequence")
STEMS = ("patch", "conv")
CHANNELS = 3


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True)
class ViTConfig:
    """Architecture of one Vision Transformer.

    With `stem="patch"` the image is cut into squares of `patch_size` pixels, each mapped
    linearly to `width` (Dosovitskiy et al., arXiv 2010.11929). With `stem="conv"` every entry
    of `stem_channels` is a 3 x 3 convolution, ReLU and 3 x 3 max pooling of stride 2, so that
    `patch_size` is 2 to the power of the number of entries (Hassani et al., arXiv 2104.05704).

    Raises:
        ValueError: a field is out of its range, or two of them contradict each other.
    """

    name: str = field(default="custom", metadata=_help("the variant; setting it takes all of it"))
    image_size: int = field(default=32, metadata=_help("height and width of the input in pixels"))
    patch_size: int = field(default=4, metadata=_help("height and width of a token in pixels"))
    width: int = field(default=128, metadata=_help("length of a token's vector"))
    depth: int = field(default=3, metadata=_help("number of transformer blocks"))
    heads: int = field(default=4, metadata=_help("attention heads; they divide width evenly"))
    mlp_width: int = field(default=256, metadata=_help("hidden units of each block's MLP"))
    qkv_bias: bool = field(
        default=True, metadata=_help("add a bias to the query, key and value projection")
    )
    mlp_output_activation: bool = field(
        default=False, metadata=_help("apply GELU after the MLP's second layer too")
    )
    dropout: float = field(
        default=0.0, metadata=_help("dropout rate after each MLP layer, 0 to below 1")
    )
    embedding_dropout: float = field(
        default=0.0, metadata=_help("dropout rate after adding positions, 0 to below 1")
    )
    attention_dropout: float = field(
        default=0.0, metadata=_help("dropout rate of the attention weights, 0 to below 1")
    )
    projection_dropout: float = field(
        default=0.0, metadata=_help("dropout rate after the attention's output, 0 to below 1")
    )
    pooling: str = field(
        default="cls",
        metadata=_help("tokens to one vector: cls (class token), mean, or sequence (learnt mean)"),
    )
    stem: str = field(default="patch", metadata=_help("pixels to tokens: patch or conv"))
    stem_channels: tuple[int, ...] = field(
        default=(),
        metadata=_help("output channels of each convolution of a conv stem; the last is width"),
    )
    norm_epsilon: float = field(
        default=1e-6, metadata=_help("added to the variance in layer normalisation")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "stem_channels", tuple(self.stem_channels))
        self._check_ranges()
        self._check_choices()
        self._check_divisions()
        self._check_stem()

    def _check_ranges(self) -> None:
        for name in ("image_size", "patch_size", "width", "depth", "heads", "mlp_width"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("dropout") and not 0.0 <= value < 1.0:
                raise ValueError(f"{item.name}: expected a rate from 0 to below 1, got {value!r}")
        if not 0.0 < self.norm_epsilon < 1.0:
            raise ValueError(f"norm_epsilon: expected 0 to 1, exclusive, got {self.norm_epsilon!r}")

    def _check_choices(self) -> None:
        for name, allowed in (("pooling", POOLINGS), ("stem", STEMS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")

    def _check_divisions(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}: "
                "change one of them so that whole patches fill the image"
            )
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is not a multiple of heads {self.heads}: "
                "change one of them so that every head gets the same share"
            )

    def _check_stem(self) -> None:
        channels = self.stem_channels
        if self.stem == "patch":
            if channels:
                raise ValueError(
                    f"stem_channels: expected none for a patch stem, got {channels}: "
                    "leave it empty or set stem to conv"
                )
            return
        if not channels or channels[-1] != self.width or min(channels) < 1:
            raise ValueError(
                "stem_channels: expected positive numbers of which the last is the width "
                f"{self.width}, got {channels}"
            )
        if self.patch_size != 2 ** len(channels):
            raise ValueError(
                f"patch_size: expected {2 ** len(channels)}, as {len(channels)} convolutions with "
                f"pooling of stride 2 give, got {self.patch_size}"
            )

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of one image."""
        return self.grid**2

    @property
    def has_class_token(self) -> bool:
        """Whether a learnt class token goes first."""
        return self.pooling == "cls"

    @property
    def tokens(self) -> int:
        """Length of the sequence that the blocks see."""
        return self.patches + int(self.has_class_token)

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain JSON values; `ViTConfig(**config.to_dict())` equals the config."""
        values = dataclasses.asdict(self)
        return {**values, "stem_channels": list(values["stem_channels"])}


# What a weight's meaning depends on, beyond its shape: trained weights fit no other value.
_MEANING = (
    "patch_size",
    "width",
    "depth",
    "heads",
    "mlp_width",
    "qkv_bias",
    "mlp_output_activation",
    "stem",
    "stem_channels",
)


def misfits(trained: ViTConfig, wanted: ViTConfig) -> list[str]:
    """Fields in which `wanted` differs so that weights of `trained` are of no use to it.

    Image size and pooling may differ, and what holds no weights: dropout, the form of GELU.
    """
    return [name for name in _MEANING if getattr(trained, name) != getattr(wanted, name)]


def child_seed(seed: int, *path: int | str) -> int:
    """A seed for one part of a model, so that no two parts draw the same numbers.

    Fixed by `seed` and the part's `path` alone: not by the order in which parts are built.
    """
    value = seed
    for step in path:
        for byte in str(step).encode() + b"/":
            # FNV-1a, 32 bits: stable between runs, which Python's own hash() is not.
            value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
