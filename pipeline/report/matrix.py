"""The confusion matrix: counts in a table, or a picture where there are many classes."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

MOST_IN_A_TABLE = 24
_MOST_PAIRS = 15
# Right answers and errors in two colours that the colour-blind can tell apart.
_HIT, _MISS = (37, 99, 235), (217, 98, 12)


@dataclass(frozen=True)
class Cell:
    """A count, and how strongly it is coloured (0 .. 1)."""

    count: int
    shade: float
    hit: bool
    title: str

    @property
    def deep(self) -> bool:
        """Whether the colour is so strong that the count must be light."""
        return self.hit and self.shade > 0.75


@dataclass(frozen=True)
class Pair:
    """An error that is made often: `share` of the true class's examples."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix ready to be drawn: as `rows`, or as `picture` (base64 PNG)."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    picture: str | None
    pairs: tuple[Pair, ...]


def matrix(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Matrix:
    """Shades each row by the shares of its true class.

    Classes without a name are called by their number.

    Raises:
        ValueError: `confusion` is not square.
    """
    size = len(confusion)
    if any(len(row) != size for row in confusion):
        raise ValueError(f"expected a confusion matrix of {size} x {size}, got uneven rows")
    names = tuple(names[i] if i < len(names) else f"class {i}" for i in range(size))
    shades = _shades(confusion)
    table = size <= MOST_IN_A_TABLE
    return Matrix(
        names=names,
        rows=_cells(confusion, shades, names) if table else (),
        picture=None if table else _picture(shades),
        pairs=_pairs(confusion, names),
    )


def _shares(confusion: Sequence[Sequence[int]]) -> list[list[float]]:
    totals = [sum(row) for row in confusion]
    return [
        [n / total if total else 0.0 for n in row]
        for row, total in zip(confusion, totals, strict=True)
    ]


def _shades(confusion: Sequence[Sequence[int]]) -> list[list[float]]:
    # Errors are few beside right answers: they are scaled by the largest error, and by
    # the square root, or nothing of them would be seen.
    shares = _shares(confusion)
    worst = max(
        (v for i, row in enumerate(shares) for j, v in enumerate(row) if i != j), default=0.0
    )
    return [
        [v if i == j else (v / worst) ** 0.5 * 0.85 if worst else 0.0 for j, v in enumerate(row)]
        for i, row in enumerate(shares)
    ]


def _cells(
    confusion: Sequence[Sequence[int]], shades: list[list[float]], names: Sequence[str]
) -> tuple[tuple[Cell, ...], ...]:
    return tuple(
        tuple(
            Cell(n, round(shades[i][j], 3), i == j, f"{names[i]} taken for {names[j]}: {n:,}")
            for j, n in enumerate(row)
        )
        for i, row in enumerate(confusion)
    )


def _pairs(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> tuple[Pair, ...]:
    shares = _shares(confusion)
    found = [
        Pair(names[i], names[j], n, shares[i][j])
        for i, row in enumerate(confusion)
        for j, n in enumerate(row)
        if i != j and n
    ]
    return tuple(sorted(found, key=lambda pair: -pair.count)[:_MOST_PAIRS])


def _picture(shades: list[list[float]]) -> str:
    """A PNG, a pixel a cell, whose transparency carries the shade: it suits any background."""
    import numpy as np
    from matplotlib.image import imsave

    alpha = np.asarray(shades)
    hit = np.eye(len(shades), dtype=bool)[..., None]
    colour = np.where(hit, np.array(_HIT), np.array(_MISS)) / 255
    pixels = np.concatenate([colour, alpha[..., None]], axis=-1)
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", metadata={"Software": "vitpipe"})
    return base64.b64encode(buffer.getvalue()).decode("ascii")
