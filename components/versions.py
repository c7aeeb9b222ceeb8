"""The folder that a model server watches: numbered versions that appear whole.

TF Serving looks once a second and takes every folder whose name is an integer. A version
is therefore put together under another name in the same folder, and renamed. Numbers only
grow, and a number that was once used is never used again. Several work directories may push
into one folder: whoever changes it holds its lock, and the others wait.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import UsageError

# TF Serving passes it by, but for the warm-up requests in it.
EXTRA_ASSETS = "assets.extra"
PROVENANCE_FILE = "provenance.json"
_LEDGER_FILE = ".ledger.json"
_LOCK_FILE = ".lock"
_STAGING = "staging-"


def list_versions(model_dir: Path) -> list[int]:
    """Numbers of the versions that are there, ascending."""
    if not model_dir.is_dir():
        return []
    return sorted(
        int(entry.name)
        for entry in model_dir.iterdir()
        if entry.name.isdecimal() and entry.is_dir()
    )


def content_digest(directory: Path) -> str:
    """SHA-256 over the names and bytes of a SavedModel's files, provenance left out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        if path.name != PROVENANCE_FILE:
            digest.update(f"{path.relative_to(directory).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def publish(source: Path, model_dir: Path, provenance: Mapping[str, Any]) -> Path:
    """Makes a copy of `source` the newest version, unless it already is.

    Args:
        source: a SavedModel.
        model_dir: the folder that the server watches.
        provenance: written beside the model, in `assets.extra`.

    Returns:
        The version's folder.
    """
    with _alone_in(model_dir):
        return _publish(source, model_dir, provenance)


@contextmanager
def _alone_in(model_dir: Path) -> Iterator[None]:
    """Waits until no other process changes the folder, which takes it seconds."""
    model_dir.mkdir(parents=True, exist_ok=True)
    with (model_dir / _LOCK_FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _publish(source: Path, model_dir: Path, provenance: Mapping[str, Any]) -> Path:
    digest = content_digest(source)
    newest = list_versions(model_dir)[-1:]
    if newest and content_digest(model_dir / str(newest[0])) == digest:
        return model_dir / str(newest[0])
    staging = model_dir / f"{_STAGING}{os.getpid()}"
    _remove_leftovers(model_dir)
    shutil.copytree(source, staging)
    extra = staging / EXTRA_ASSETS
    extra.mkdir(exist_ok=True)
    text = json.dumps({**provenance, "model": digest}, indent=1, sort_keys=True)
    (extra / PROVENANCE_FILE).write_text(text + "\n")
    for path in [staging, *staging.rglob("*")]:
        _flush(path)
    final = model_dir / str(_next_number(model_dir))
    staging.rename(final)
    _flush(model_dir)
    return final


def roll_back(model_dir: Path, version: int) -> Path:
    """Makes an earlier version the newest again, under a new number.

    Raises:
        UsageError: there is no such version.
    """
    _require_version(model_dir, version)
    with _alone_in(model_dir):
        _require_version(model_dir, version)  # It can have been retired in the meantime.
        source = model_dir / str(version)
        recorded = source / EXTRA_ASSETS / PROVENANCE_FILE
        provenance = json.loads(recorded.read_text()) if recorded.is_file() else {}
        return _publish(source, model_dir, {**provenance, "rolled_back_to": version})


def _require_version(model_dir: Path, version: int) -> None:
    there = list_versions(model_dir)
    if version not in there:
        known = ", ".join(map(str, there)) or "none"
        raise UsageError(f"no version {version} under {model_dir}; there: {known}")


def retire(model_dir: Path, keep: int) -> list[int]:
    """Removes all but the `keep` newest versions; 0 keeps all. Returns what was removed."""
    if not keep or len(list_versions(model_dir)) <= keep:
        return []
    with _alone_in(model_dir):
        return _retire(model_dir, keep)


def _retire(model_dir: Path, keep: int) -> list[int]:
    old = list_versions(model_dir)[:-keep]
    if old:
        # Written first: a version that goes without it would pass for lost, and come back.
        ledger = _read_ledger(model_dir)
        retired = sorted({*ledger["retired"], *old})
        _write_ledger(model_dir, {**ledger, "retired": retired})
    for version in old:
        # A server must not see half of a version: first it loses its number.
        gone = model_dir / f"{_STAGING}retired-{version}"
        (model_dir / str(version)).rename(gone)
        shutil.rmtree(gone)
    return old


def is_retired(version_dir: Path) -> bool:
    """Whether a version is gone because `retire` removed it."""
    return int(version_dir.name) in _read_ledger(version_dir.parent)["retired"]


def _next_number(model_dir: Path) -> int:
    ledger = _read_ledger(model_dir)
    used = max([ledger["highest"], *list_versions(model_dir)])
    number = max(int(time.time()), used + 1)
    _write_ledger(model_dir, {**ledger, "highest": number})
    return number


def _read_ledger(model_dir: Path) -> dict[str, Any]:
    path = model_dir / _LEDGER_FILE
    found = json.loads(path.read_text()) if path.is_file() else {}
    return {"highest": 0, "retired": [], **found}


def _write_ledger(model_dir: Path, ledger: Mapping[str, Any]) -> None:
    temporary = model_dir / f"{_LEDGER_FILE}.{os.getpid()}"
    temporary.write_text(json.dumps(ledger))
    temporary.rename(model_dir / _LEDGER_FILE)


def _remove_leftovers(model_dir: Path) -> None:
    for entry in model_dir.glob(f"{_STAGING}*"):
        shutil.rmtree(entry, ignore_errors=True)
    for entry in model_dir.glob(f"{_LEDGER_FILE}.*"):
        entry.unlink()


def _flush(path: Path) -> None:
    """Bytes before the name: after a power cut a version is whole or absent."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
