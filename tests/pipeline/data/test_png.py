import io

import numpy as np
import pytest
from PIL import Image

from pipeline.data.png import encode_pngs


@pytest.mark.parametrize("shape", [(3, 32, 32, 3), (1, 1, 1, 3), (2, 5, 9, 3), (1, 200, 300, 3)])
def test_pillow_reads_the_same_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for encoded, expected in zip(encode_pngs(pixels), pixels, strict=True):
        image = Image.open(io.BytesIO(encoded))
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("bad", [np.zeros((1, 2, 2, 4), np.uint8), np.zeros((1, 2, 2, 3), float)])
def test_other_than_8_bit_rgb_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, H, W, 3\) uint8"):
        encode_pngs(bad)
