"""Writes a prepared data set: all of it or nothing.

Everything is made in a hidden folder beside the output and renamed at the end. The manifest
names the input, so that the same output made again is recognised.
"""

import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.contract import LABELS_FILE, MANIFEST_FILE, SPLITS
from components.errors import DataError, UsageError, refusing
from pipeline.data.records import Record, frame

# Raised whenever the same input would give other files.
FORMAT = 1
_SHARD_RECORDS = 5000
_SHARD_BYTES = 2**26
# Higher levels take twice the time for 1% of the size.
_GZIP_LEVEL = 1


@dataclass(frozen=True)
class Prepared:
    """What the preparation hands to the writer: the records stream, the rest is known."""

    class_names: Sequence[str]
    splits: Mapping[str, Iterable[Record]]


@dataclass(frozen=True)
class _Shard:
    file: str
    examples: int
    bytes: int
    sha256: str


@dataclass
class _Split:
    examples: int = 0
    per_class: list[int] = field(default_factory=list)
    shards: list[_Shard] = field(default_factory=list)


@dataclass(frozen=True)
class _Manifest:
    format: int
    kind: str
    input: str
    classes: list[str]
    labels_sha256: str
    splits: dict[str, _Split]


def fingerprint(kind: str, **inputs: object) -> str:
    """SHA-256 of what determines the output: the kind of data, its source and options."""
    text = json.dumps({"format": FORMAT, "kind": kind, **inputs}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@refusing(UsageError, "--output")
def already_made(output: Path, input_digest: str) -> dict[str, Any] | None:
    """The manifest of an output that was made of this input, None where there is no output.

    Raises:
        UsageError: if the folder holds something else, or cannot be read.
        DataError: if its files are not those of its manifest.
    """
    if not output.exists() and not output.is_symlink():
        return None
    if not output.is_dir():
        raise UsageError(f"--output {output} is no folder; name one that does not exist yet")
    names = sorted(os.listdir(output))
    if not names:
        return None
    manifest = read_manifest(output)
    if manifest is None or manifest.get("input") != input_digest:
        held = "data made of another input" if manifest else f"{names[0]!r}"
        raise UsageError(
            f"--output {output} holds {held}; remove it, or name a folder that does not exist yet"
        )
    check_files(output, manifest)
    return manifest


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """Our manifest, None where there is none of ours.

    Raises:
        DataError: for one of ours that lacks something.
    """
    path = directory / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return None
    problem = _problem(manifest)
    if problem:
        raise DataError(f"{path} is damaged ({problem}); remove {directory} and prepare again")
    return manifest


def _problem(manifest: Mapping[str, Any]) -> str:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(_Manifest).validate_python(manifest, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    missing = [split for split in SPLITS if split not in manifest["splits"]]
    return f"splits.{missing[0]}: missing" if missing else ""


def check_files(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Compares every file with its digest.

    Raises:
        DataError: naming the first file that is missing or differs.
    """
    expected = {LABELS_FILE: manifest["labels_sha256"]}
    for split, content in manifest["splits"].items():
        expected |= {f"{split}/{shard['file']}": shard["sha256"] for shard in content["shards"]}
    for name, digest in expected.items():
        path = directory / name
        if not path.is_file():
            raise DataError(f"{path} is missing; remove {directory} and prepare the data again")
        if file_digest(path) != digest:
            raise DataError(
                f"{path} is not the file that was prepared; remove {directory} and prepare again"
            )


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A hidden folder beside the output that becomes the output when the block ends well.

    Raises:
        UsageError: if another process is making the same output, or it cannot be made.
    """
    folder = output.parent / f".{output.name}.partial"
    with refusing(UsageError, f"--output {output} cannot be made"):
        output.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(lock, folder, output)
        # What a killed process left.
        _empty(folder)
        try:
            yield folder
            with refusing(UsageError, f"--output {output} cannot be made"):
                folder.rename(output)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path, output: Path) -> None:
    busy = UsageError(f"another process is preparing {output}; wait for it to end")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise busy from error
    # The other process may have renamed the folder between our two calls.
    if not folder.exists() or not os.path.samestat(os.fstat(lock), folder.stat()):
        raise busy


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write(folder: Path, kind: str, input_digest: str, prepared: Prepared) -> dict[str, Any]:
    """Writes splits, labels and manifest into a folder of `staging`; returns the manifest."""
    labels = "".join(f"{name}\n" for name in prepared.class_names).encode()
    splits = {
        split: _write_split(folder / split, records, len(prepared.class_names))
        for split, records in prepared.splits.items()
    }
    labels_digest = hashlib.sha256(labels).hexdigest()
    names = list(prepared.class_names)
    manifest = asdict(_Manifest(FORMAT, kind, input_digest, names, labels_digest, splits))
    (folder / LABELS_FILE).write_bytes(labels)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    for path in (folder / LABELS_FILE, folder / MANIFEST_FILE):
        _sync(path)
    return manifest


def _write_split(folder: Path, records: Iterable[Record], classes: int) -> _Split:
    folder.mkdir()
    split = _Split(per_class=[0] * classes)
    # zlib leaves the interpreter's lock, so two shards are compressed at a time.
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = []
        for number, shard in enumerate(_shards(records, split)):
            path = folder / f"part-{number:05d}.tfrecord.gz"
            waiting.append(pool.submit(_write_shard, path, shard))
            if len(waiting) > 2:
                split.shards.append(waiting.pop(0).result())
        split.shards += [future.result() for future in waiting]
    return split


def _shards(records: Iterable[Record], split: _Split) -> Iterator[list[bytes]]:
    shard: list[bytes] = []
    size = 0
    for record in records:
        framed = frame(record)
        split.examples += 1
        split.per_class[record.label] += 1
        if shard and (len(shard) == _SHARD_RECORDS or size + len(framed) > _SHARD_BYTES):
            yield shard
            shard, size = [], 0
        shard.append(framed)
        size += len(framed)
    if shard:
        yield shard


def _write_shard(path: Path, frames: list[bytes]) -> _Shard:
    buffer = io.BytesIO()
    # No name and no time, so that the same records give the same bytes.
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, buffer, mtime=0) as file:
        file.write(b"".join(frames))
    data = buffer.getvalue()
    path.write_bytes(data)
    _sync(path)
    digest = hashlib.sha256(data).hexdigest()
    return _Shard(path.name, len(frames), len(data), digest)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
