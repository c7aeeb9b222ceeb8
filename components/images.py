"""What an image is, defined once: for data preparation, the gate, training and serving.

An image is a PNG or a JPEG, recognised by its first bytes, with at most `max_pixels`
pixels by its header; the header is checked before anything is decoded. It becomes 8-bit
RGB: gray is repeated, 16 bits are reduced to their high 8, transparency (also of a palette
or a colour key) is blended over white, the EXIF orientation of a JPEG is applied (a
malformed EXIF block means upright). CMYK JPEGs and everything else are refused.

All of it is made of graph operations, so an exported model refuses the same images.

Shapes: B images, H x W pixels, S the model's size.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from components.image_headers import (
    GRAY,
    JPEG_COLOR,
    OK,
    PALETTE,
    REASONS,
    RGB,
    Headers,
    read_headers,
)
from components.settings import MAX_PIXELS

# Decoded images of any size that a batch holds at once; more would only cost memory.
PARALLEL_LARGE = 4
# Small images are decoded in groups, because a step of the loop costs as much as an image.
_GROUP = 8
# So many pixels count as small: a sum of squares, at most 255**2 for each, fits into 32 bits.
_SMALL = (2**31 - 1) // 255**2


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
    batch, headers = checked(tf.reshape(encoded, [1]), max_pixels)
    return decode_kind(batch[0], headers.color_type[0], headers.orientation[0])


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
    batch, headers = checked(encoded, max_pixels)
    decoded = tf.cond(
        _are_alike(headers),
        lambda: _decode_alike(batch, headers, size),
        lambda: _decode_any(batch, headers, size),
    )
    return Decoded(*decoded)


def checked(encoded: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, Headers]:
    """The same strings, which exist only if all of them passed the header checks."""
    headers = read_headers(encoded, max_pixels)
    # The appended 0 is for an empty batch.
    worst = tf.reduce_max(tf.concat([headers.problem, [OK]], axis=0))
    reason = tf.gather(tf.constant(REASONS), worst)
    check = tf.debugging.Assert(tf.equal(worst, OK), ["an image is refused:", reason])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(encoded), headers


def decode_kind(encoded: tf.Tensor, color_type: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Decodes one image that passed the header checks: (H, W, 3) uint8, upright RGB."""

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


def _are_alike(headers: Headers) -> tf.Tensor:
    """Whether the batch is some small opaque PNGs of one size, which go together."""
    same_size = (headers.width == headers.width[:1]) & (headers.height == headers.height[:1])
    small = headers.height * headers.width <= _SMALL
    return tf.reduce_all(headers.is_plain & same_size & small) & (tf.size(headers.width) > 0)


def _decode_alike(
    encoded: tf.Tensor, headers: Headers, size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The hot path; the same numbers as `_decode_any` gives."""
    images = _decode_same_size(encoded, headers.height[0], headers.width[0])
    exact = tf.cast(images, tf.int32)
    pixels = tf.cast(headers.height[0] * headers.width[0], tf.float64)
    mean, mean_of_squares = (
        tf.cast(tf.reduce_sum(values, axis=[1, 2]), tf.float64) / pixels
        for values in (exact, exact * exact)
    )
    return _resize(images, size), mean, mean_of_squares


def _decode_same_size(encoded: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """(B, height, width, 3) uint8, from PNGs that all have this size."""
    shape = tf.stack([height, width, 3])

    def one(png: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.io.decode_png(png, channels=3), shape)

    def mapped(decode: Callable[[tf.Tensor], tf.Tensor], items: tf.Tensor) -> tf.Tensor:
        images = tf.cond(
            # A loop without a single step would not know the shape of what it gives.
            tf.shape(items)[0] > 0,
            lambda: tf.map_fn(decode, items, fn_output_signature=tf.uint8),
            lambda: tf.zeros([0, 1, 1, 3], tf.uint8),
        )
        return tf.reshape(images, tf.concat([[-1], shape], axis=0))

    whole = tf.shape(encoded)[0] // _GROUP * _GROUP
    groups = tf.reshape(encoded[:whole], [-1, _GROUP])
    return tf.concat(
        [
            mapped(lambda group: tf.stack([one(png) for png in tf.unstack(group)]), groups),
            mapped(one, encoded[whole:]),
        ],
        axis=0,
    )


def _decode_any(
    encoded: tf.Tensor, headers: Headers, size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    def one(inputs: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels = decode_kind(*inputs)
        return (_resize(pixels, size), *_moments(pixels))

    return tf.map_fn(
        one,
        (encoded, headers.color_type, headers.orientation),
        fn_output_signature=(
            tf.TensorSpec([size, size, 3], tf.float32),
            tf.TensorSpec([3], tf.float64),
            tf.TensorSpec([3], tf.float64),
        ),
        parallel_iterations=PARALLEL_LARGE,
    )


def _resize(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """One image, or a batch of one size."""

    def resize(antialias: bool) -> tf.Tensor:
        return tf.image.resize(pixels, [size, size], "bilinear", antialias=antialias)

    # Antialiasing changes nothing where no side shrinks, and takes four times as long.
    shrinks = tf.reduce_any(tf.shape(pixels)[-3:-1] > size)
    return tf.cond(shrinks, lambda: resize(True), lambda: resize(False))


def _moments(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Exact moments by counting values: no wide copy of a large image is made."""
    channels = tf.cast(tf.transpose(tf.reshape(pixels, [-1, 3])), tf.int32)
    counts = tf.math.bincount(channels, minlength=256, maxlength=256, axis=-1)
    shares = tf.cast(counts, tf.float64) / tf.cast(tf.shape(channels)[1], tf.float64)
    values = tf.range(256, dtype=tf.float64)
    return tf.linalg.matvec(shares, values), tf.linalg.matvec(shares, values * values)
