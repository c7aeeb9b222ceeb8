"""The file from which a trained model can be trained on: `model.keras`, beside each export.

Keras's own format, a zip of configuration and weights, with the class names as a further member
that Keras passes by. Read here without Keras, so that what cannot work is refused at once.
"""

import hashlib
import json
import os
import shlex
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import versions
from components.errors import UsageError
from components.versions import EXTRA_ASSETS
from models.config import ViTConfig, misfits

NAME = "model.keras"
CLASS_NAMES = "class_names.json"
SETTING = "trainer.init_from"
# A folder that holds the file, a pushed version, the Trainer's `model` artifact.
_PLACES = ("", EXTRA_ASSETS, os.path.join("Format-Serving", EXTRA_ASSETS))


@dataclass(frozen=True)
class WeightsFile:
    """A trained model's architecture and classes; the names are empty where nobody wrote them."""

    path: Path
    config: ViTConfig
    classes: int
    class_names: tuple[str, ...]


def locate(place: Path) -> Path:
    """The file that a setting means: itself, or in a pushed version or a model artifact.

    Raises:
        UsageError: there is none.
    """
    candidates = [place, *(place / folder / NAME for folder in _PLACES)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        newest = versions.list_versions(place)[-1:]
        hint = f"; did you mean {place / str(newest[0])}?" if newest else ""
        raise UsageError(
            f"{SETTING}: expected a pushed version (WORKDIR/serving/MODEL/VERSION), a folder with "
            f"{NAME} or a .keras file, got {place}, where there is no {NAME}{hint}"
        )
    return found


def read(place: Path) -> WeightsFile:
    """Architecture and class names of a trained model.

    Raises:
        UsageError: there is no such file, or it is not one of vitpipe's.
    """
    path = locate(place)
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
            names = archive.read(CLASS_NAMES) if CLASS_NAMES in archive.namelist() else b"[]"
        found = {layer["config"]["name"]: layer["config"] for layer in layers}
        config = ViTConfig(**found["block_0"]["vit"])
        return WeightsFile(path, config, found["head"]["units"], tuple(json.loads(names)))
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{SETTING}: {path} is no Vision Transformer that vitpipe saved "
            f"({type(error).__name__}: {error})"
        ) from None


def require_fit(file: WeightsFile, wanted: ViTConfig) -> None:
    """UsageError where weights of the file would mean nothing in a model of `wanted`."""
    names = misfits(file.config, wanted)
    if names:
        trained, asked = file.config.to_dict(), wanted.to_dict()
        listed = "; ".join(f"model.{n}: expected {trained[n]}, got {asked[n]}" for n in names)
        raise UsageError(
            f"{SETTING}: {file.path} holds {file.config.name}, which is another model. {listed}. "
            f"Take these settings from it ({_settings(trained, names)}) or give other weights"
        )


def digest(place: Path) -> str:
    """SHA-256 of the file."""
    with locate(place).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settings(trained: Mapping[str, Any], names: list[str]) -> str:
    values = {name: json.dumps(trained[name]).strip('"').replace(" ", "") for name in names}
    return " ".join(f"--set {shlex.quote(f'model.{n}={v}')}" for n, v in values.items())
