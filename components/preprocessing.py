"""The preprocessing graph: the one path of an image in training, evaluation and serving."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components import contract, images

# A channel that never varies would otherwise divide by nothing.
_SMALLEST_DEVIATION = 1.0


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes, resizes and normalises; the label passes through.

    Every image counts the same in the statistics, whatever its size: a channel's mean is
    the mean over the training images of the image's mean, taken before resizing.

    Args:
        inputs: `image` (B,) encoded bytes, `label` (B,) int64.
        custom_config: `image_size` in pixels, `max_pixels`.

    Returns:
        `image` (B, image_size, image_size, 3) float32 with mean 0 and deviation 1 over the
        training split, `label` (B,) int64.
    """
    decoded = images.decode_resized(
        inputs[contract.IMAGE], custom_config["image_size"], custom_config["max_pixels"]
    )
    mean = tft.mean(decoded.channel_mean, reduce_instance_dims=False)
    mean_of_squares = tft.mean(decoded.channel_mean_of_squares, reduce_instance_dims=False)
    deviation = tf.sqrt(tf.maximum(mean_of_squares - mean**2, _SMALLEST_DEVIATION**2))
    # Spread over an image first: a batch minus an image takes a fraction of the time of a batch
    # minus three numbers, which TensorFlow repeats pixel by pixel.
    shift, scale = (
        tf.broadcast_to(tf.cast(values, tf.float32), decoded.images.shape[1:])
        for values in (mean, deviation)
    )
    normalised = (decoded.images - shift) / scale
    return {contract.IMAGE: normalised, contract.LABEL: inputs[contract.LABEL]}
