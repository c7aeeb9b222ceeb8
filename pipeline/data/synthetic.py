"""Generated images: coloured shapes that a small Vision Transformer learns in a minute.

A class is a shape and a colour family. Place, size, shade, background and noise vary, so
the mean colour tells at most the two families apart.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from components.contract import EVAL, TEST, TRAIN
from pipeline.data import output
from pipeline.data.options import SyntheticConfig
from pipeline.data.png import encode_pngs
from pipeline.data.records import Record

SHAPES = ("disc", "ring", "cross", "rows", "columns")
COLORS = ("red", "blue")
CLASS_NAMES = tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)
_CHUNK = 500


def prepare(config: SyntheticConfig, target: Path) -> dict[str, Any]:
    """Writes generated images as a data set; returns its manifest."""
    input_digest = output.fingerprint("synthetic", **asdict(config))
    made = output.already_made(target, input_digest)
    if made is not None:
        return made | {"untouched": True}
    counts = {TRAIN: config.train, EVAL: config.eval, TEST: config.test}
    splits = {
        split: _records(split, count, config.size, np.random.SeedSequence([config.seed, number]))
        for number, (split, count) in enumerate(counts.items())
    }
    with output.staging(target) as folder:
        return output.write(folder, "synthetic", input_digest, output.Prepared(CLASS_NAMES, splits))


def _records(split: str, count: int, size: int, seed: np.random.SeedSequence) -> Iterator[Record]:
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = rng.permutation(np.arange(count) % len(CLASS_NAMES))
    for first in range(0, count, _CHUNK):
        chunk = labels[first : first + _CHUNK]
        for index, png in enumerate(encode_pngs(draw(chunk, size, rng))):
            yield Record(f"{split}_{first + index:05d}", png, int(chunk[index]))


def draw(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws one image a label.

    Args:
        labels: (N,) indices of CLASS_NAMES.
        size: S, pixels.
        rng: decides everything else.

    Returns:
        (N, S, S, 3) uint8.
    """
    count = len(labels)
    mask = _shapes(labels % len(SHAPES), size, rng)
    shade = 0.35 * rng.random((count, 3))
    strong = np.where(labels < len(SHAPES), 0, 2)
    shade[np.arange(count), strong] += 0.65
    background = 0.15 + 0.5 * rng.random((count, 1)) + 0.1 * rng.random((count, 3))
    pixels = np.where(mask[..., None], shade[:, None, None], background[:, None, None])
    pixels = pixels + 0.2 * (rng.random(pixels.shape) - 0.5)
    return (255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def _shapes(shapes: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N, S, S) bool; all shapes cover a similar area."""
    count = len(shapes)
    radius = 0.24 + 0.14 * rng.random((count, 1, 1))
    center = 0.5 + 0.24 * (rng.random((2, count, 1, 1)) - 0.5)
    grid = (np.arange(size) + 0.5) / size
    x = (grid[None, None, :] - center[0]) / radius
    y = (grid[None, :, None] - center[1]) / radius
    squared = x * x + y * y
    inside = (np.abs(x) < 1) & (np.abs(y) < 1)
    drawn = (
        squared < 0.8,
        (squared < 1.3) & (squared > 0.45),
        inside & ((np.abs(x) < 0.36) | (np.abs(y) < 0.36)),
        inside & (np.floor(2.5 * (y + 1)) % 2 == 0),
        inside & (np.floor(2.5 * (x + 1)) % 2 == 0),
    )
    return np.select(
        [(shapes == number)[:, None, None] for number in range(len(drawn))],
        np.broadcast_arrays(*drawn),
    )
