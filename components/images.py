"""What an image is, defined once: for data preparation, the gate, training and serving.

An image is a PNG or a JPEG, recognised by its first bytes, with at most `max_pixels`
pixels by its header; the header is checked before anything is decoded. It becomes 8-bit
RGB: gray is repeated, 16 bits are reduced to their high 8, transparency (also of a palette
or a colour key) is blended over white, the EXIF orientation of a JPEG is applied (a
malformed EXIF block means upright). CMYK JPEGs and everything else are refused.

All of it is made of graph operations, so an exported model refuses the same images.

Shapes: B images, H x W pixels, S the model's size.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from components.image_headers import (
    EMPTY,
    FOREIGN,
    GRAY,
    JPEG_COLOR,
    OK,
    PALETTE,
    REASONS,
    RGB,
    TOO_LARGE,
    Headers,
    read_headers,
)
from components.settings import MAX_PIXELS

# Decoded images of any size that a batch holds at once; more would only cost memory.
_PARALLEL_LARGE = 4
# Small images are decoded in groups, because a step of the loop costs as much as an image.
_GROUP = 8


class Decoded(NamedTuple):
    """A batch of images at the model's size, and moments of their pixels as decoded."""

    images: tf.Tensor  # (B, S, S, 3) float32, 0 .. 255
    channel_mean: tf.Tensor  # (B, 3) float64, before resizing
    channel_mean_of_squares: tf.Tensor  # (B, 3) float64, before resizing


def decode_image(encoded: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes one image.

    Args:
        encoded: scalar string, the file's bytes.
        max_pixels: largest width x height, 1 or more.

    Returns:
        (H, W, 3) uint8, upright RGB.

    Raises:
        tf.errors.InvalidArgumentError: when run, for bytes that are no image (see above).
    """
    batch, headers = _checked(tf.reshape(encoded, [1]), max_pixels)
    return _decode(batch[0], headers.color_type[0], headers.orientation[0])


def decode_resized(encoded: tf.Tensor, size: int, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decodes a batch and resizes it, bilinear with half-pixel centres.

    Shrinking is antialiased; an image of the right size is left as it is.

    Args:
        encoded: (B,) strings, B may be 0.
        size: S, both sides of the result in pixels.
        max_pixels: largest width x height of an encoded image.

    Raises:
        tf.errors.InvalidArgumentError: when run, if one of the images is none.
    """
    batch, headers = _checked(encoded, max_pixels)
    right_size = (headers.width == size) & (headers.height == size)
    decoded = tf.cond(
        tf.reduce_all(headers.is_plain & right_size),
        lambda: _decode_plain(batch, size),
        lambda: _decode_any(batch, headers, size),
    )
    return Decoded(*decoded)


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
        batch, found = _checked(encoded, max_pixels)
        return tf.cond(
            tf.reduce_all(found.is_plain),
            # Most sets are of one kind, and the choices among kinds take longer than decoding.
            lambda: _map_sizes(lambda png: tf.io.decode_png(png, channels=3), batch),
            lambda: _map_sizes(
                lambda one: _decode(*one), (batch, found.color_type, found.orientation)
            ),
        )

    return headers, decode


def _map_sizes(decode: Callable[[Any], tf.Tensor], images: Any) -> tf.Tensor:
    """Numbers of values: what `find_problems` decodes for is whether it can be done."""
    return tf.map_fn(
        lambda one: tf.size(decode(one)),
        images,
        fn_output_signature=tf.int32,
        parallel_iterations=_PARALLEL_LARGE,
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


def _checked(encoded: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, Headers]:
    """The same strings, which exist only if all of them passed the header checks."""
    headers = read_headers(encoded, max_pixels)
    # The appended 0 is for an empty batch.
    worst = tf.reduce_max(tf.concat([headers.problem, [OK]], axis=0))
    reason = tf.gather(tf.constant(REASONS), worst)
    check = tf.debugging.Assert(tf.equal(worst, OK), ["an image is refused:", reason])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(encoded), headers


def _decode(encoded: tf.Tensor, color_type: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def jpeg() -> tf.Tensor:
        pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.cond(orientation > 1, lambda: _upright(pixels, orientation), lambda: pixels)

    pixels = tf.cond(color_type == JPEG_COLOR, jpeg, lambda: _decode_png(encoded, color_type))
    return tf.ensure_shape(pixels, [None, None, 3])


def _decode_png(encoded: tf.Tensor, color_type: tf.Tensor) -> tf.Tensor:
    def palette() -> tf.Tensor:
        # The decoder's own choice of channels says whether there is transparency; asked
        # for alpha, it fills in a wrong one where a pixel has fewer than 8 bits.
        pixels = tf.io.decode_png(encoded, channels=0)
        return tf.cond(
            tf.shape(pixels)[2] == 4, lambda: _over_white(pixels), lambda: pixels[..., :3]
        )

    def color() -> tf.Tensor:
        pixels = tf.io.decode_png(encoded, channels=4)
        # For the same reason: a colour key is all or nothing, so any alpha means opaque.
        keyed = (color_type == GRAY) | (color_type == RGB)
        fill = tf.where(keyed & (pixels[..., 3:] > 0), tf.constant(255, tf.uint8), pixels[..., 3:])
        return _over_white(tf.concat([pixels[..., :3], fill], axis=2))

    return tf.cond(color_type == PALETTE, palette, color)


def _over_white(rgba: tf.Tensor) -> tf.Tensor:
    def blend() -> tf.Tensor:
        # At most 255 * 255 + 127, which 16 bits hold.
        wide = tf.cast(rgba, tf.uint16)
        color, alpha = wide[..., :3], wide[..., 3:]
        return tf.cast((color * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)

    opaque = tf.reduce_min(tf.cast(rgba[..., 3], tf.int32)) == 255
    return tf.cond(opaque, lambda: rgba[..., :3], blend)


def _upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def turn(image: tf.Tensor, cases: tuple[int, ...], how: Callable) -> tf.Tensor:
        applies = tf.reduce_any(orientation == tf.constant(cases))
        return tf.cond(applies, lambda: how(image), lambda: image)

    image = turn(pixels, (5, 6, 7, 8), lambda x: tf.transpose(x, [1, 0, 2]))
    image = turn(image, (2, 3, 6, 7), lambda x: tf.reverse(x, [1]))
    return turn(image, (3, 4, 7, 8), lambda x: tf.reverse(x, [0]))


def _decode_plain(encoded: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The hot path: opaque PNGs that all have the right size."""
    images = _decode_same_size(encoded, size)
    # The sum of squares, at most size**2 * 255**2, has to be exact.
    exact = tf.cast(images, tf.int32 if size <= 181 else tf.int64)
    mean, mean_of_squares = (
        tf.cast(tf.reduce_sum(values, axis=[1, 2]), tf.float64) / size**2
        for values in (exact, exact * exact)
    )
    return tf.cast(images, tf.float32), mean, mean_of_squares


def _decode_same_size(encoded: tf.Tensor, size: int) -> tf.Tensor:
    shape = [size, size, 3]

    def one(png: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.io.decode_png(png, channels=3), shape)

    whole = tf.shape(encoded)[0] // _GROUP * _GROUP
    groups = tf.map_fn(
        lambda group: tf.stack([one(png) for png in tf.unstack(group)]),
        tf.reshape(encoded[:whole], [-1, _GROUP]),
        fn_output_signature=tf.TensorSpec([_GROUP, *shape], tf.uint8),
    )
    rest = tf.map_fn(one, encoded[whole:], fn_output_signature=tf.TensorSpec(shape, tf.uint8))
    return tf.concat([tf.reshape(groups, [-1, *shape]), rest], axis=0)


def _decode_any(
    encoded: tf.Tensor, headers: Headers, size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    def one(inputs: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels = _decode(*inputs)
        return (_resize(pixels, size), *_moments(pixels))

    return tf.map_fn(
        one,
        (encoded, headers.color_type, headers.orientation),
        fn_output_signature=(
            tf.TensorSpec([size, size, 3], tf.float32),
            tf.TensorSpec([3], tf.float64),
            tf.TensorSpec([3], tf.float64),
        ),
        parallel_iterations=_PARALLEL_LARGE,
    )


def _resize(pixels: tf.Tensor, size: int) -> tf.Tensor:
    resized = tf.cond(
        tf.reduce_all(tf.shape(pixels)[:2] == size),
        lambda: tf.cast(pixels, tf.float32),
        lambda: tf.image.resize(pixels, [size, size], "bilinear", antialias=True),
    )
    return tf.ensure_shape(resized, [size, size, 3])


def _moments(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Exact moments by counting values: no wide copy of a large image is made."""
    channels = tf.cast(tf.transpose(tf.reshape(pixels, [-1, 3])), tf.int32)
    counts = tf.math.bincount(channels, minlength=256, maxlength=256, axis=-1)
    shares = tf.cast(counts, tf.float64) / tf.cast(tf.shape(channels)[1], tf.float64)
    values = tf.range(256, dtype=tf.float64)
    return tf.linalg.matvec(shares, values), tf.linalg.matvec(shares, values * values)
