"""Says why images are refused, for those who have to mend them; `images` says what an image is."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from components import images
from components.image_headers import EMPTY, FOREIGN, OK, REASONS, TOO_LARGE, read_headers
from components.settings import MAX_PIXELS


def find_problems(encoded: Sequence[bytes], max_pixels: int = MAX_PIXELS) -> list[str | None]:
    """Says for each image why it is refused, or None where it is fine.

    The whole batch is decoded at once, and image by image only if that fails.
    """
    if not encoded:
        return []
    headers, decode = _inspector(max_pixels)
    codes, widths, heights = (part.numpy() for part in headers(tf.constant(list(encoded))))
    problems = [
        _describe(code, data, f"{width} x {height}", max_pixels)
        for code, data, width, height in zip(codes, encoded, widths, heights, strict=True)
    ]
    rest = [index for index, problem in enumerate(problems) if problem is None]
    if _decoding_error(decode, [encoded[index] for index in rest]) is not None:
        for index in rest:
            problems[index] = _decoding_error(decode, [encoded[index]])
    return problems


@functools.lru_cache(maxsize=8)
def _inspector(max_pixels: int) -> tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor]]:
    signature = [tf.TensorSpec([None], tf.string)]

    @tf.function(input_signature=signature)
    def headers(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        found = read_headers(encoded, max_pixels)
        return found.problem, found.width, found.height

    @tf.function(input_signature=signature)
    def decode(encoded: tf.Tensor) -> tf.Tensor:
        batch, found = images.checked(encoded, max_pixels)
        return tf.cond(
            tf.reduce_all(found.is_plain),
            # Most sets are of one kind, and the choices among kinds take longer than decoding.
            lambda: _map_sizes(lambda png: tf.io.decode_png(png, channels=3), batch),
            lambda: _map_sizes(
                lambda one: images.decode_kind(*one), (batch, found.color_type, found.orientation)
            ),
        )

    return headers, decode


def _map_sizes(decode: Callable[[Any], tf.Tensor], encoded: Any) -> tf.Tensor:
    """Numbers of values: what `find_problems` decodes for is whether it can be done."""
    return tf.map_fn(
        lambda one: tf.size(decode(one)),
        encoded,
        fn_output_signature=tf.int32,
        parallel_iterations=images.PARALLEL_LARGE,
    )


def _decoding_error(decode: Callable[..., tf.Tensor], encoded: list[bytes]) -> str | None:
    try:
        decode(tf.constant(encoded, tf.string))
    except tf.errors.InvalidArgumentError as error:
        # The decoder's own words stand between node names and call stacks.
        told = re.search(r"(Invalid|Unsupported|Expected)[^\n\[]*", error.message)
        return f"cannot be decoded: {told[0].strip() if told else 'damaged or cut off'}"
    return None


def _describe(code: int, data: bytes, shape: str, max_pixels: int) -> str | None:
    if code == OK:
        return None
    if code == FOREIGN:
        return f"{REASONS[code]} ({f'starts with {data[:4].hex()}' if data else 'no bytes'})"
    if code == TOO_LARGE:
        return f"{shape} pixels, more than the {max_pixels} allowed"
    if code == EMPTY:
        return f"{REASONS[code]} ({shape})"
    return REASONS[code]
