"""Says why images are refused, for those who have to mend them; `images` says what an image is."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from components import images
from components.image_headers import EMPTY, FOREIGN, OK, REASONS, TOO_LARGE, read_headers
from components.settings import MAX_PIXELS


class Inspected(NamedTuple):
    """What was found in one file."""

    problem: str | None  # why it is refused
    pixels: bytes  # equal for equal pixels as `images` decodes them; empty for a refused one


def find_problems(encoded: Sequence[bytes], max_pixels: int = MAX_PIXELS) -> list[str | None]:
    """Says for each image why it is refused, or None where it is fine."""
    return [found.problem for found in _inspect(encoded, max_pixels, _count)]


def inspect(encoded: Sequence[bytes], max_pixels: int = MAX_PIXELS) -> list[Inspected]:
    """Says that, and which images have the same pixels, whatever their bytes (64-bit hash)."""
    return _inspect(encoded, max_pixels, _fingerprint)


Summary = Callable[[tf.Tensor], tf.Tensor]


def _count(pixels: tf.Tensor) -> tf.Tensor:
    """All that is needed to know whether an image can be decoded."""
    return tf.size(pixels, tf.int64)[None]


def _fingerprint(pixels: tf.Tensor) -> tf.Tensor:
    """Also of the shape, as images of one colour differ in nothing else."""
    digest = tf.raw_ops.Fingerprint(data=pixels[None], method="farmhash64")
    return tf.concat([tf.bitcast(digest, tf.int64), tf.shape(pixels, tf.int64)], axis=0)


def _inspect(encoded: Sequence[bytes], max_pixels: int, summary: Summary) -> list[Inspected]:
    """Decodes the whole batch at once, and image by image only if that fails."""
    if not encoded:
        return []
    headers, decode = _inspector(max_pixels, summary)
    codes, widths, heights = (part.numpy() for part in headers(tf.constant(list(encoded))))
    problems = [
        _describe(code, data, f"{width} x {height}", max_pixels)
        for code, data, width, height in zip(codes, encoded, widths, heights, strict=True)
    ]
    rest = [index for index, problem in enumerate(problems) if problem is None]
    pixels = dict.fromkeys(range(len(encoded)), b"")
    whole = _decoded(decode, [encoded[index] for index in rest])
    for place, index in enumerate(rest):
        found = whole if not isinstance(whole, str) else _decoded(decode, [encoded[index]])
        if isinstance(found, str):
            problems[index] = found
        else:
            pixels[index] = found[place if found is whole else 0]
    return [Inspected(problem, pixels[index]) for index, problem in enumerate(problems)]


@functools.lru_cache(maxsize=8)
def _inspector(
    max_pixels: int, summary: Summary
) -> tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor]]:
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
            lambda: _map(lambda png: summary(tf.io.decode_png(png, channels=3)), batch),
            lambda: _map(
                lambda one: summary(images.decode_kind(*one)),
                (batch, found.color_type, found.orientation),
            ),
        )

    return headers, decode


def _map(summarised: Callable[[Any], tf.Tensor], encoded: Any) -> tf.Tensor:
    return tf.map_fn(
        summarised,
        encoded,
        fn_output_signature=tf.int64,
        parallel_iterations=images.PARALLEL_LARGE,
    )


def _decoded(decode: Callable[..., tf.Tensor], encoded: list[bytes]) -> list[bytes] | str:
    """The summaries, or why one of the images cannot be decoded."""
    try:
        return [row.tobytes() for row in decode(tf.constant(encoded, tf.string)).numpy()]
    except tf.errors.InvalidArgumentError as error:
        # The decoder's own words stand between node names and call stacks.
        told = re.search(r"(Invalid|Unsupported|Expected)[^\n\[]*", error.message)
        return f"cannot be decoded: {told[0].strip() if told else 'damaged or cut off'}"


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
