"""Weights of a trained Vision Transformer put into another one, to fine-tune it.

Resolution, classes and pooling may differ; `models.config.misfits` names what may not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

CLASS_TOKEN, POSITIONS = "embedding/class_token", "embedding/positions"
HEAD, POOLING = "head/", "pooling/"


@dataclass(frozen=True)
class Transferred:
    """What became of the target's weights, by path.

    `resampled` are the sides of both grids where they differ; `fresh` weights keep their start.
    """

    copied: tuple[str, ...]
    fresh: tuple[str, ...]
    resampled: tuple[int, int] | None


def weights_by_path(model: keras.Model) -> dict[str, np.ndarray]:
    """The trained weights of a model, by their paths such as "block_0/mlp/expand/kernel"."""
    return {weight.path: ops.convert_to_numpy(weight) for weight in model.trainable_variables}


def transfer(
    weights: Mapping[str, np.ndarray], target: keras.Model, keep_head: bool
) -> Transferred:
    """Puts weights into a model of `build_vit` wherever paths agree.

    Positions are resampled to the target's grid. The head, what pooling learns and the class
    token (with its position) stay as they are where the source has none.

    Args:
        weights: As `weights_by_path` gives them.
        target: Is changed.
        keep_head: Take the head too; False where the classes are other ones.

    Raises:
        ValueError: a weight is missing or has another shape; nothing was changed then.
    """
    source = {k: v for k, v in weights.items() if keep_head or not k.startswith(HEAD)}
    start = weights_by_path(target)
    resampled = None
    if POSITIONS in source:
        source[POSITIONS] = _fitted_positions(source, start)
        sides = (
            _side(weights[POSITIONS], CLASS_TOKEN in weights),
            _side(start[POSITIONS], CLASS_TOKEN in start),
        )
        resampled = sides if sides[0] != sides[1] else None
    fresh = tuple(path for path in start if path not in source)
    _check(source, start, fresh)
    for weight in target.trainable_variables:
        if weight.path in source:
            weight.assign(source[weight.path])
    return Transferred(tuple(path for path in start if path in source), fresh, resampled)


def resample_positions(positions: np.ndarray, side: int) -> np.ndarray:
    """Positions of the patches of one square grid, read off at those of another.

    Interpolated in two dimensions, by where a patch lies in the image: arXiv 2010.11929, section
    3.2. Bicubic, because a mean of neighbours, which bilinear interpolation gives, is shorter
    than they are (arXiv 2012.12877); with antialiasing where the grid shrinks.

    Args:
        positions: (1, N, D), row by row, without that of a class token; N is a square.
        side: Patches along one side of the new grid.

    Returns:
        (1, side * side, D); the same numbers where the grid is the same.
    """
    before, width = _side(positions, False), positions.shape[2]
    if before == side:
        return positions
    grid = ops.reshape(ops.convert_to_tensor(positions), (1, before, before, width))
    grid = ops.image.resize(
        grid,
        (side, side),
        interpolation="bicubic",
        antialias=True,
        data_format="channels_last",
    )
    return ops.convert_to_numpy(ops.reshape(grid, (1, side * side, width)))


def _fitted_positions(
    source: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray]
) -> np.ndarray:
    """(1, T, D) for the target; the class token's goes unchanged before those of the grid."""
    trained, own = source[POSITIONS], start[POSITIONS]
    extra, wanted = int(CLASS_TOKEN in source), int(CLASS_TOKEN in start)
    side = _side(own, bool(wanted))
    patches = resample_positions(trained[:, extra:], side)
    first = trained if extra else own
    return np.concatenate([first[:, :wanted], patches], axis=1)


def _side(positions: np.ndarray, class_token: bool) -> int:
    patches = positions.shape[1] - int(class_token)
    side = math.isqrt(patches)
    if side * side != patches:
        raise ValueError(f"positions: expected those of a square grid, got {patches} patches")
    return side


def _check(
    source: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], fresh: tuple[str, ...]
) -> None:
    wrong = [
        f"{path}: expected shape {start[path].shape}, got {value.shape}"
        for path, value in source.items()
        if path in start and value.shape != start[path].shape
    ]
    wrong += [
        f"{path}: expected, got none"
        for path in fresh
        if path != CLASS_TOKEN and not path.startswith((HEAD, POOLING))
    ]
    if wrong:
        raise ValueError("the weights are of another architecture: " + "; ".join(wrong))
