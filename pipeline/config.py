"""The configuration of a run: the stages' settings composed, read and written.

A setting is `section.field`. Presets are instances of `RunConfig`; a YAML file and
`--set` replace some of their fields. Everything is checked before anything starts.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from components.errors import UsageError
from components.settings import (
    GateConfig,
    PusherConfig,
    ServingCheckConfig,
    TrainerConfig,
    TransformConfig,
    ValidationConfig,
)
from models.config import ViTConfig
from models.optim import OptimizerConfig
from models.variants import VARIANTS

Values = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class RunConfig:
    """All sections, in the order of the data's way."""

    validation: ValidationConfig = field(default_factory=ValidationConfig)
    transform: TransformConfig = field(default_factory=TransformConfig)
    model: ViTConfig = field(default_factory=ViTConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    serving_check: ServingCheckConfig = field(default_factory=ServingCheckConfig)
    pusher: PusherConfig = field(default_factory=PusherConfig)


SECTIONS = tuple(item.name for item in dataclasses.fields(RunConfig))
_PLACES = tuple(
    f"{section}.{item.name}"
    for section, kind in get_type_hints(RunConfig).items()
    for item in dataclasses.fields(kind)
)


def to_values(config: RunConfig) -> Values:
    """Sections and fields as plain values; `from_values` takes them back."""
    values: Values = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def from_values(values: Mapping[str, Mapping[str, Any]], base: RunConfig) -> RunConfig:
    """`base` with some fields replaced.

    Naming a variant in `model.name` replaces the whole section before the other fields.

    Raises:
        UsageError: an unknown section or field (with the nearest name), a wrong type, or a
            value that the section refuses.
    """
    sections = {}
    for name, fields in values.items():
        if name not in SECTIONS:
            raise UsageError(_unknown("section", str(name), SECTIONS))
        if not isinstance(fields, Mapping):
            raise UsageError(f"section {name}: expected fields with values, got {fields!r}")
        sections[name] = _section(name, fields, getattr(base, name))
    return dataclasses.replace(base, **sections)


def _section(name: str, fields: Mapping[str, Any], base: Any) -> Any:
    known = {item.name: item for item in dataclasses.fields(base)}
    for key in fields:
        if key not in known:
            elsewhere = [place for place in _PLACES if place.endswith(f".{key}")]
            own = [f"{name}.{k}" for k in known]
            raise UsageError(_unknown("setting", f"{name}.{key}", elsewhere or own))
    merged = {**dataclasses.asdict(_variant(name, fields, base)), **fields}
    types = get_type_hints(type(base))
    numbers = {
        key: _number(value) if types[key] is float else value for key, value in merged.items()
    }
    return _validated(name, type(base), numbers)


def _variant(name: str, fields: Mapping[str, Any], base: Any) -> Any:
    chosen = fields.get("name") if name == "model" else None
    if not isinstance(chosen, str) or chosen == base.name:
        return base  # what is no text is refused with the other types
    if chosen not in VARIANTS:
        raise UsageError(_unknown("model variant", str(chosen), VARIANTS))
    return VARIANTS[chosen]


def _validated(name: str, section: type, fields: Mapping[str, Any]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    text = json.dumps({key: _plain(f"{name}.{key}", value) for key, value in fields.items()})
    try:
        checked: Any = TypeAdapter(section).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([name, *map(str, first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        shown = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        raise UsageError(f"{place}: {message}{shown}") from None
    _require_finite(name, checked)
    return checked


def _require_finite(name: str, section: Any) -> None:
    """No setting has a use for infinity, and a range with one open end would let it pass."""
    for key, value in dataclasses.asdict(section).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name}.{key}: expected a finite number, got {value}")


def _plain(place: str, value: Any) -> Any:
    """The value; UsageError for what YAML knows and JSON does not, as a date."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise UsageError(
            f"{place}: expected a number, a text, true, false or a list of them, got {value!r}"
        ) from None
    return value


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def parse_settings(settings: Sequence[str]) -> Values:
    """`section.field=value` texts as values; a value is JSON, or else text.

    Raises:
        UsageError: a text that has another form.
    """
    values: Values = {}
    for text in settings:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            raise UsageError(f"--set takes section.field=value, got {text!r}{_place_hint(section)}")
        values.setdefault(section, {})[key] = _literal(value.strip())
    return values


def _place_hint(field: str) -> str:
    """Where a field lies that was named without its section."""
    fields = {place.partition(".")[2] for place in _PLACES}
    near = difflib.get_close_matches(field, sorted(fields), n=1, cutoff=0.7)
    places = [place for place in _PLACES if near and place.endswith(f".{near[0]}")]
    return f"; did you mean {' or '.join(places)}?" if places else ""


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML, with each field's help beside it."""
    lines, values = [], to_values(config)
    for name in SECTIONS:
        section = getattr(config, name)
        lines.append(f"{name}:")
        for item in dataclasses.fields(section):
            text = json.dumps(values[name][item.name])  # JSON is YAML
            lines.append(f"  {item.name}: {text}  # {item.metadata['help']}")
    return "\n".join(lines) + "\n"


def read_yaml(path: Path) -> Values:
    """Sections of a YAML file.

    Raises:
        UsageError: no such file, or one that is not sections of fields.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--config {path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {path}: expected sections with fields, as `config show` prints")
    return values


def _unknown(what: str, name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
    return f"there is no {what} {name!r}{hint}"
