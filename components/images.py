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
from typing import NamedTuple

import tensorflow as tf

MAX_PIXELS = 2**24

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = b"\x00\x00\x00\x0dIHDR"
_JPEG = b"\xff\xd8\xff"
_HEAD_BYTES = 41  # up to the name of the PNG chunk after IHDR
_JPEG_COLOR, _GRAY, _RGB, _PALETTE = -1, 0, 2, 3
_MAX_SEGMENTS = 1024  # a JPEG header has about ten, with large embedded metadata a hundred
_MAX_TAGS = 64  # an IFD is sorted and the orientation is one of its first tags
_ORIENTATION_TAG = 0x0112
_SHORT = 3
# All-image map steps hold a decoded image each; more at once would only cost memory.
_PARALLEL_LARGE = 4

_OK, _FOREIGN, _BROKEN, _EMPTY, _TOO_LARGE, _CMYK = range(6)
_REASONS = (
    "ok",
    "not a PNG or JPEG",
    "its header is broken",
    "it has no pixels",
    "it has more pixels than allowed",
    "CMYK JPEG; convert it to RGB",
)


class Decoded(NamedTuple):
    """A batch of images at the model's size, and moments of their pixels as decoded."""

    images: tf.Tensor  # (B, S, S, 3) float32, 0 .. 255
    channel_mean: tf.Tensor  # (B, 3) float64, before resizing
    channel_mean_of_squares: tf.Tensor  # (B, 3) float64, before resizing


class _Headers(NamedTuple):
    problem: tf.Tensor  # (B,) int32, index of _REASONS
    color_type: tf.Tensor  # (B,) int32, of a PNG; -1 for a JPEG
    is_plain: tf.Tensor  # (B,) bool, a PNG that cannot have transparency
    width: tf.Tensor  # (B,) int64
    height: tf.Tensor  # (B,) int64
    orientation: tf.Tensor  # (B,) int32, 1 .. 8 as in EXIF


class _Jpeg(NamedTuple):
    position: tf.Tensor  # (B,) int32, of the next segment
    done: tf.Tensor  # (B,) bool
    width: tf.Tensor  # (B,) int32, 0 until the frame header is found
    height: tf.Tensor  # (B,) int32
    components: tf.Tensor  # (B,) int32
    exif_start: tf.Tensor  # (B,) int32, 0 if there is none
    exif_end: tf.Tensor  # (B,) int32


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


def find_problems(
    encoded: Sequence[bytes], max_pixels: int = MAX_PIXELS
) -> list[str | None]:
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
        found = _read_headers(encoded, max_pixels)
        return found.problem, found.width, found.height

    @tf.function(input_signature=signature)
    def decode(encoded: tf.Tensor) -> tf.Tensor:
        batch, found = _checked(encoded, max_pixels)
        return tf.map_fn(
            lambda one: tf.size(_decode(*one)),
            (batch, found.color_type, found.orientation),
            fn_output_signature=tf.int32,
            parallel_iterations=_PARALLEL_LARGE,
        )

    return headers, decode


def _decoding_error(decode: Callable[..., tf.Tensor], encoded: list[bytes]) -> str | None:
    try:
        decode(tf.constant(encoded, tf.string))
    except tf.errors.InvalidArgumentError as error:
        # The decoder's own words stand between node names and call stacks.
        told = re.search(r"(Invalid|Unsupported|Expected)[^\n\[]*", error.message)
        return f"cannot be decoded: {told[0].strip() if told else 'damaged or cut off'}"
    return None


def _describe(code: int, data: bytes, shape: str, max_pixels: int) -> str | None:
    if code == _OK:
        return None
    if code == _FOREIGN:
        return f"{_REASONS[code]} ({f'starts with {data[:4].hex()}' if data else 'no bytes'})"
    if code == _TOO_LARGE:
        return f"{shape} pixels, more than the {max_pixels} allowed"
    if code == _EMPTY:
        return f"{_REASONS[code]} ({shape})"
    return _REASONS[code]


def _checked(encoded: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, _Headers]:
    """The same strings, which exist only if all of them passed the header checks."""
    headers = _read_headers(encoded, max_pixels)
    # The appended 0 is for an empty batch.
    worst = tf.reduce_max(tf.concat([headers.problem, [_OK]], axis=0))
    reason = tf.gather(tf.constant(_REASONS), worst)
    check = tf.debugging.Assert(tf.equal(worst, _OK), ["an image is refused:", reason])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(encoded), headers


def _read_headers(encoded: tf.Tensor, max_pixels: int) -> _Headers:
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be 1 or more, got {max_pixels}")
    head = _bytes_at(encoded, tf.zeros_like(encoded, tf.int32), _HEAD_BYTES)
    is_png, is_jpeg = _starts(head, 0, _PNG), _starts(head, 0, _JPEG)
    png_ok = is_png & _starts(head, 8, _PNG_HEADER)
    jpeg_position = tf.where(is_jpeg, 2, 0)
    jpeg, orientation = tf.cond(
        tf.reduce_any(is_jpeg),
        lambda: _read_jpeg_headers(encoded, jpeg_position),
        lambda: (_no_jpeg(jpeg_position), tf.ones_like(jpeg_position)),
    )
    width = tf.where(is_png, _uint32(head[:, 16:20]), tf.cast(jpeg.width, tf.int64))
    height = tf.where(is_png, _uint32(head[:, 20:24]), tf.cast(jpeg.height, tf.int64))
    too_large = (width > max_pixels) | (height > max_pixels) | (width * height > max_pixels)
    found = is_png | (jpeg.components > 0)
    problem = tf.where(too_large, _TOO_LARGE, tf.where(jpeg.components > 3, _CMYK, _OK))
    problem = tf.where((width == 0) | (height == 0), _EMPTY, problem)
    problem = tf.where(tf.where(is_png, png_ok, found), problem, _BROKEN)
    problem = tf.where(is_png | is_jpeg, problem, _FOREIGN)
    color_type = tf.where(is_png, head[:, 25], _JPEG_COLOR)
    without_alpha = (color_type == _GRAY) | (color_type == _RGB)
    # A colour key would stand between the header and the first data chunk.
    is_plain = png_ok & without_alpha & _starts(head, 37, b"IDAT")
    return _Headers(problem, color_type, is_plain, width, height, orientation)


def _no_jpeg(position: tf.Tensor) -> _Jpeg:
    none = tf.zeros_like(position)
    return _Jpeg(position, position == 0, none, none, none, none, none)


def _read_jpeg_headers(encoded: tf.Tensor, position: tf.Tensor) -> tuple[_Jpeg, tf.Tensor]:
    """Walks the segments up to the frame header; where position is 0 there is no JPEG.

    `tf.image.extract_jpeg_shape` is no choice: it starts the decoder, which for a
    progressive file reads all scans into memory of the size that the header claims.
    """
    (jpeg,) = tf.while_loop(
        lambda state: ~tf.reduce_all(state.done),
        lambda state: (_next_segment(encoded, state),),
        (_no_jpeg(position),),
        maximum_iterations=_MAX_SEGMENTS,
    )
    return jpeg, _read_orientation(encoded, jpeg.exif_start, jpeg.exif_end)


def _next_segment(encoded: tf.Tensor, state: _Jpeg) -> _Jpeg:
    segment = _bytes_at(encoded, state.position, 10)
    marker = segment[:, 1]
    length = _uint16(segment[:, 2:4])
    in_marker = (segment[:, 0] == 0xFF) & ~state.done
    is_fill = in_marker & (marker == 0xFF)
    no_frame = (marker == 0xC4) | (marker == 0xC8) | (marker == 0xCC)
    is_frame = in_marker & (marker >= 0xC0) & (marker <= 0xCF) & ~no_frame
    # Scan data, the end and bare markers cannot come before the frame header.
    is_bare = (marker < 0xC0) | ((marker >= 0xD0) & (marker <= 0xDA))
    goes_on = is_fill | (in_marker & ~is_frame & ~is_bare & (length >= 2))
    is_exif = in_marker & (marker == 0xE1) & _starts(segment, 4, b"Exif\0\0")
    is_exif &= state.exif_start == 0
    end = state.position + 2 + length
    return _Jpeg(
        position=tf.where(goes_on, tf.where(is_fill, state.position + 1, end), state.position),
        done=state.done | ~goes_on,
        width=tf.where(is_frame, _uint16(segment[:, 7:9]), state.width),
        height=tf.where(is_frame, _uint16(segment[:, 5:7]), state.height),
        components=tf.where(is_frame, segment[:, 9], state.components),
        exif_start=tf.where(is_exif, state.position + 10, state.exif_start),
        exif_end=tf.where(is_exif, end, state.exif_end),
    )


def _read_orientation(encoded: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """The orientation tag of the TIFF blocks at start .. end, 1 where there is none."""
    start = tf.minimum(start, tf.strings.length(encoded))
    tiff = tf.strings.substr(encoded, start, tf.maximum(end - start, 0))
    head = _bytes_at(tiff, tf.zeros_like(start), 8)
    big = _starts(head, 0, b"MM\0*")
    offset = tf.where(big, _uint32(head[:, 4:8]), _uint32(head[:, 7:3:-1]))
    is_tiff = (big | _starts(head, 0, b"II*\0")) & (offset >= 8)
    offset = tf.cast(tf.minimum(offset, 2**16), tf.int32)
    table = _bytes_at(tiff, offset, 2 + 12 * _MAX_TAGS)
    tags = tf.reshape(table[:, 2:], [-1, _MAX_TAGS, 12])
    in_order = functools.partial(_uint16, big=big[:, None])
    listed = tf.range(_MAX_TAGS) < _uint16(table[:, :2], big)[:, None]
    matches = listed & (in_order(tags[..., 0:2]) == _ORIENTATION_TAG)
    matches &= in_order(tags[..., 2:4]) == _SHORT
    value = tf.reduce_max(tf.where(matches, in_order(tags[..., 8:10]), 0), axis=1)
    return tf.where(is_tiff & (value >= 1) & (value <= 8), value, 1)


def _decode(encoded: tf.Tensor, color_type: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def jpeg() -> tf.Tensor:
        pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.cond(orientation > 1, lambda: _upright(pixels, orientation), lambda: pixels)

    pixels = tf.cond(color_type == _JPEG_COLOR, jpeg, lambda: _decode_png(encoded, color_type))
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
        keyed = (color_type == _GRAY) | (color_type == _RGB)
        fill = tf.where(keyed & (pixels[..., 3:] > 0), tf.constant(255, tf.uint8), pixels[..., 3:])
        return _over_white(tf.concat([pixels[..., :3], fill], axis=2))

    return tf.cond(color_type == _PALETTE, palette, color)


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
    """The hot path: opaque PNGs that all have the right size; one operation an image."""
    images = tf.map_fn(
        lambda one: tf.ensure_shape(tf.io.decode_png(one, channels=3), [size, size, 3]),
        encoded,
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8),
    )
    # The sum of squares, at most size**2 * 255**2, has to be exact.
    exact = tf.cast(images, tf.int32 if size <= 181 else tf.int64)
    mean, mean_of_squares = (
        tf.cast(tf.reduce_sum(values, axis=[1, 2]), tf.float64) / size**2
        for values in (exact, exact * exact)
    )
    return tf.cast(images, tf.float32), mean, mean_of_squares


def _decode_any(
    encoded: tf.Tensor, headers: _Headers, size: int
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


def _bytes_at(encoded: tf.Tensor, position: tf.Tensor, count: int) -> tf.Tensor:
    """(B, count) int32: bytes from `position` (B,) on, zeros beyond the end."""
    position = tf.minimum(position, tf.strings.length(encoded))
    piece = tf.strings.substr(encoded, position, tf.fill(tf.shape(position), count))
    return tf.cast(tf.io.decode_raw(piece, tf.uint8, fixed_length=count), tf.int32)


def _starts(data: tf.Tensor, at: int, expected: bytes) -> tf.Tensor:
    return tf.reduce_all(data[:, at : at + len(expected)] == list(expected), axis=1)


def _uint16(pair: tf.Tensor, big: tf.Tensor | bool = True) -> tf.Tensor:
    high, low = pair[..., 0], pair[..., 1]
    return tf.where(big, 256 * high + low, 256 * low + high)


def _uint32(four: tf.Tensor) -> tf.Tensor:
    weights = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
    return tf.reduce_sum(tf.cast(four, tf.int64) * weights, axis=-1)
