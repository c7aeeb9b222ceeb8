"""Random changes to training images, on normalised batches, the same for any model.

Each policy is a pure function of the images and a seed of two integers: the same seed gives
the same pictures on any machine. Never used in evaluation or serving.

Legend of shapes: B images, S pixels a side.
"""

import math
from typing import Any

import tensorflow as tf

from components.settings import AUGMENTATIONS

ROTATION = 0.02
ZOOM = 0.2
CROP_SHARE = 8


Place = tuple[Any, Any]


def augment(images: tf.Tensor, policy: str, seed: Any, place: Place | None = None) -> tf.Tensor:
    """Changes each image of a float32 batch (B, S, S, 3) on its own; same shape.

    - none: nothing.
    - flip_rotate_zoom: left-right flip of one half of the images, rotation by up to 0.02 of a
      turn either way, zoom by up to 20% either way in height and width independently; the
      article's, in one interpolation where it has three.
    - crop_flip: shift by up to S/8 pixels either way in both directions, borders mirrored
      (padding by S/8 and a random crop), and left-right flip of one half of the images.

    Args:
        images: Pixels of any range; square, S a number known when the graph is built.
        policy: One of `AUGMENTATIONS`.
        seed: Two integers, shape (2,); take new ones for each batch.
        place: Where the images are a part of a batch: its first index in it and the size of the
            whole; each image then changes as it would in the whole.

    Raises:
        ValueError: an unknown policy, or images that are not square.
    """
    if policy not in AUGMENTATIONS:
        raise ValueError(f"policy: expected one of {', '.join(AUGMENTATIONS)}, got {policy!r}")
    height, width = images.shape[1], images.shape[2]
    if height is None or height != width:
        raise ValueError(f"expected square images of a fixed size, got {height} x {width}")
    if policy == "none":
        return images
    chosen = {"flip_rotate_zoom": _flip_rotate_zoom, "crop_flip": _crop_flip}[policy]
    return chosen(images, seed, place)


def _uniform(images: tf.Tensor, seed: Any, rows: int, place: Place | None) -> list[tf.Tensor]:
    """`rows` independent vectors (B,) of numbers from 0 to below 1."""
    count = tf.shape(images)[0]
    first, total = place or (0, count)
    return tf.unstack(tf.random.stateless_uniform((rows, total), seed)[:, first : first + count])


def _flip_rotate_zoom(images: tf.Tensor, seed: Any, place: Place | None) -> tf.Tensor:
    flip, turn, tall, wide = _uniform(images, seed, 4, place)
    flip = tf.where(flip < 0.5, -1.0, 1.0)
    angle = (2.0 * turn - 1.0) * (ROTATION * 2.0 * math.pi)
    tall = 1.0 + (2.0 * tall - 1.0) * ZOOM
    wide = 1.0 + (2.0 * wide - 1.0) * ZOOM
    # An output pixel, relative to the centre, is read from flip @ rotation @ zoom of its place.
    xx, xy = flip * tf.cos(angle) * wide, -flip * tf.sin(angle) * tall
    yx, yy = tf.sin(angle) * wide, tf.cos(angle) * tall
    centre = (images.shape[1] - 1) / 2
    x0, y0 = centre * (1.0 - xx - xy), centre * (1.0 - yx - yy)
    zero = tf.zeros_like(flip)
    return _transform(images, tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1))


def _transform(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Reads each output pixel (x, y) from `matrices` @ (x, y, 1); matrices (B, 8)."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=matrices,
        output_shape=tf.constant(images.shape[1:3].as_list(), tf.int32),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _crop_flip(images: tf.Tensor, seed: Any, place: Place | None) -> tf.Tensor:
    size = images.shape[1]
    reach = size // CROP_SHARE
    flip, down, right = _uniform(images, seed, 3, place)
    rows = _mirrored(_shift(down, reach) + tf.range(size), size)  # (B, S)
    columns = _mirrored(_shift(right, reach) + tf.range(size), size)  # (B, S)
    columns = tf.where(flip[:, tf.newaxis] < 0.5, columns[:, ::-1], columns)
    # One gather of whole pixels does pad, crop and flip without a padded copy.
    index = rows[:, :, tf.newaxis] * size + columns[:, tf.newaxis, :]  # (B, S, S)
    pixels = tf.reshape(images, (-1, size * size, images.shape[3]))
    return tf.gather(pixels, index, axis=1, batch_dims=1)


def _shift(uniform: tf.Tensor, reach: int) -> tf.Tensor:
    """Whole numbers from -reach to reach, each as likely: (B,) -> (B, 1)."""
    steps = tf.cast(tf.floor(uniform * (2 * reach + 1)), tf.int32)
    return (steps - reach)[:, tf.newaxis]


def _mirrored(index: tf.Tensor, size: int) -> tf.Tensor:
    """Indices beyond 0 .. size - 1 folded back, the border pixel itself not repeated."""
    index = tf.abs(index)
    return tf.where(index >= size, 2 * (size - 1) - index, index)
