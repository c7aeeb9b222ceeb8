"""The rows of the report's tables and cards."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.text import metric_label, top_k_keys

Row = TypeVar("Row")

_MOST_ROWS = 100
_MOST_SAMPLES = 40
_MOST_IMAGE_BYTES = 512 * 1024
_FOLD_CLASSES_AFTER = 30
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True)
class Shortened(Generic[Row]):
    """The first rows of a table, and how many more there are."""

    rows: Sequence[Row]
    more: int

    def __bool__(self) -> bool:
        return bool(self.rows)


def shorten(rows: Sequence[Row], most: int = _MOST_ROWS) -> Shortened[Row]:
    """At most `most` rows."""
    return Shortened(rows[:most], max(len(rows) - most, 0))


def even(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rows that all have exactly these keys; what one lacks is empty text."""
    return [{key: "" if row.get(key) is None else row[key] for key in keys} for row in rows]


def classes(per_class: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The classes, the worst first, with a column for every top-k accuracy that any has."""
    if not per_class:
        return None
    keys = top_k_keys(key for row in per_class for key, value in row.items() if value is not None)
    rows = [
        {
            "name": row.get("name", "?"),
            "examples": row.get("examples"),
            "values": [row.get(key) for key in keys],
        }
        for row in per_class
    ]
    rows.sort(key=lambda row: min((v for v in row["values"][:1] if v is not None), default=2.0))
    cut = len(rows) if len(rows) <= _FOLD_CLASSES_AFTER else _FOLD_CLASSES_AFTER // 2
    return {
        "heads": [metric_label(key) for key in keys],
        "parts": [part for part in (rows[:cut], rows[cut:]) if part],
    }


def samples(found: Sequence[Mapping[str, Any]]) -> Shortened[dict[str, Any]]:
    """Cards of samples, the wrong ones first."""
    cards = [_card(sample) for sample in found[:_MOST_SAMPLES]]
    cards.sort(key=lambda card: card["place"] == 1)
    return Shortened(cards, max(len(found) - len(cards), 0))


def _card(sample: Mapping[str, Any]) -> dict[str, Any]:
    label = str(sample.get("label", "?"))
    predictions = [(str(name), float(score)) for name, score in sample.get("predictions") or ()]
    names = [name for name, _ in predictions]
    return {
        "image": _embedded(sample.get("image") or b""),
        "id": str(sample.get("id", "")),
        "label": label,
        "predictions": predictions[:3],
        "place": names.index(label) + 1 if label in names else None,
    }


def _embedded(image: bytes) -> str | None:
    """The image as a data address; None for what a page should not carry."""
    if len(image) > _MOST_IMAGE_BYTES:
        return None
    for magic, kind in _MAGIC.items():
        if image.startswith(magic):
            return f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"
    return None


def splits(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a split: its examples and its smallest and largest class."""
    names = [str(name) for name in data.get("classes") or ()]
    rows = []
    for split, found in (data.get("splits") or {}).items():
        counts = list(found.get("per_class") or ())
        rows.append(
            {
                "split": split,
                "examples": found.get("examples"),
                "smallest": _class_at(names, counts, min(counts)) if counts else "",
                "largest": _class_at(names, counts, max(counts)) if counts else "",
            }
        )
    return rows


def _class_at(names: Sequence[str], counts: Sequence[int], count: int) -> str:
    if min(counts) == max(counts):
        return f"{count:,} each"
    index = counts.index(count)
    return f"{names[index] if index < len(names) else f'class {index}'}: {count:,}"


def stages(components: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a component; `share` is its part of the longest one's time, in percent."""
    longest = max((one.get("seconds") or 0.0 for one in components), default=0.0)
    return [
        {
            "name": one.get("name", "?"),
            "state": one.get("state", "?"),
            "seconds": one.get("seconds") or 0.0,
            "share": round(100 * (one.get("seconds") or 0.0) / longest, 1) if longest else 0.0,
        }
        for one in components
    ]


def configuration(config: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections of settings; text stands as it is, anything else as JSON writes it."""
    return [
        (str(section), [(str(key), _setting(value)) for key, value in fields.items()])
        if isinstance(fields, Mapping)
        else (str(section), [("", _setting(fields))])
        for section, fields in config.items()
    ]


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
