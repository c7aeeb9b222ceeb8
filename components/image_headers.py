"""Reads the headers of PNG and JPEG files, in graph operations, and decodes nothing.

Shapes: B images; a header that cannot be read makes a problem, never an error.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

OK, FOREIGN, BROKEN, EMPTY, TOO_LARGE, CMYK, SCANS = range(7)
_MAX_SCANS = 100
REASONS = (
    "ok",
    "not a PNG or JPEG",
    "its header is broken",
    "it has no pixels",
    "it has more pixels than allowed",
    "CMYK JPEG; convert it to RGB",
    f"JPEG of more than {_MAX_SCANS} scans",
)
JPEG_COLOR, GRAY, RGB, PALETTE = -1, 0, 2, 3

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = b"\x00\x00\x00\x0dIHDR"
_JPEG = b"\xff\xd8\xff"
_HEAD_BYTES = 41  # up to the name of the PNG chunk after IHDR
_MAX_SEGMENTS = 512  # a JPEG header has about ten, with large embedded metadata a hundred
_MAX_TAGS = 64  # an IFD is sorted and the orientation is one of its first tags
_ORIENTATION_TAG = 0x0112
_SHORT = 3


class Headers(NamedTuple):
    """What the headers of a batch say."""

    problem: tf.Tensor  # (B,) int32, index of REASONS
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


def read_headers(encoded: tf.Tensor, max_pixels: int) -> Headers:
    """Reads the headers of encoded images, (B,) strings.

    Where `problem` is not OK, the other fields hold no promise, but for the size of an image
    that is too large.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be 1 or more, got {max_pixels}")
    head = _bytes_at(encoded, tf.zeros_like(encoded, tf.int32), _HEAD_BYTES)
    is_png, is_jpeg = _starts(head, 0, _PNG), _starts(head, 0, _JPEG)
    png_ok = is_png & _starts(head, 8, _PNG_HEADER)
    jpeg, orientation, scans = tf.cond(
        tf.reduce_any(is_jpeg),
        lambda: _read_jpegs(tf.where(is_jpeg, encoded, "")),
        lambda: _no_jpegs(tf.zeros_like(encoded, tf.int32)),
    )
    width = tf.where(is_png, _uint32(head[:, 16:20]), tf.cast(jpeg.width, tf.int64))
    height = tf.where(is_png, _uint32(head[:, 20:24]), tf.cast(jpeg.height, tf.int64))
    too_large = (width > max_pixels) | (height > max_pixels) | (width * height > max_pixels)
    found = is_png | (jpeg.components > 0)
    problem = tf.where(too_large, TOO_LARGE, tf.where(jpeg.components > 3, CMYK, OK))
    problem = tf.where(scans > _MAX_SCANS, SCANS, problem)
    problem = tf.where((width == 0) | (height == 0), EMPTY, problem)
    problem = tf.where(tf.where(is_png, png_ok, found), problem, BROKEN)
    problem = tf.where(is_png | is_jpeg, problem, FOREIGN)
    color_type = tf.where(is_png, head[:, 25], JPEG_COLOR)
    without_alpha = (color_type == GRAY) | (color_type == RGB)
    # A colour key would stand between the header and the first data chunk.
    is_plain = png_ok & without_alpha & _starts(head, 37, b"IDAT")
    return Headers(problem, color_type, is_plain, width, height, orientation)


def _no_jpegs(none: tf.Tensor) -> tuple[_Jpeg, tf.Tensor, tf.Tensor]:
    return _Jpeg(none, none == 0, none, none, none, none, none), tf.ones_like(none), none


def _read_jpegs(encoded: tf.Tensor) -> tuple[_Jpeg, tf.Tensor, tf.Tensor]:
    """Frame header, orientation and number of scans; of an empty string nothing.

    `tf.image.extract_jpeg_shape` is no choice: it starts the decoder, which for a
    progressive file reads all scans into memory of the size that the header claims.
    """
    none = tf.zeros_like(encoded, tf.int32)
    start = _Jpeg(none + 2, encoded == "", none, none, none, none, none)
    (jpeg,) = tf.while_loop(
        lambda state: ~tf.reduce_all(state.done),
        lambda state: (_next_segment(encoded, state),),
        (start,),
        maximum_iterations=_MAX_SEGMENTS,
    )
    # Each scan costs a pass over all pixels, however few bytes it has.
    scans = tf.strings.split(encoded, b"\xff\xda", maxsplit=_MAX_SCANS + 1).row_lengths() - 1
    orientation = _read_orientation(encoded, jpeg.exif_start, jpeg.exif_end)
    return jpeg, orientation, tf.cast(scans, tf.int32)


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
