"""CIFAR-10 from its official binary version.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, "CIFAR-10 binary version". A record is
a label byte and 32 x 32 pixels as three planes, red, green, blue.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.contract import EVAL, TEST, TRAIN
from components.errors import DataError, UsageError, refusing
from pipeline.data import archive, output
from pipeline.data.png import encode_pngs
from pipeline.data.records import Record

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
_NAMES = "batches.meta.txt"
SHA1 = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    # Of the ten names, one a line: there are copies of this file with an empty line at its end.
    _NAMES: "107a31d7b87d44ff07d50cfceb176add6d8b9518",
}
_TEST_FILE = "test_batch.bin"
_SIDE = 32
_RECORD_BYTES = 1 + 3 * _SIDE * _SIDE
_EVAL_SHARE = 10  # the last tenth of the training set, as Keras' validation_split takes it
_CHUNK = 1000


def prepare(source: str | None, target: Path, sha1: Mapping[str, str] = SHA1) -> dict[str, Any]:
    """Writes CIFAR-10 as a data set; returns its manifest.

    Args:
        source: folder, .tar.gz archive or URL; None is the dataset's home.
        target: the output folder.
        sha1: file name to digest, of what is accepted as CIFAR-10; the file of the class names
            is among them.

    Raises:
        UsageError: if the source does not exist, or the output holds something else.
        DataError: if a file is missing or another one than published.
    """
    input_digest = output.fingerprint("cifar10", sha1=dict(sha1))
    made = output.already_made(target, input_digest)
    if made is not None:
        return made | {"untouched": True}
    with (
        output.staging(target) as folder,
        tempfile.TemporaryDirectory(dir=folder) as scratch,
    ):
        batches = _locate(source or URL, Path(scratch), sha1)
        _check(batches, sha1)
        prepared = _split(batches, sha1)
        return output.write(folder, "cifar10", input_digest, prepared)


def _split(batches: Path, sha1: Mapping[str, str]) -> output.Prepared:
    names = _class_names(batches)
    files = sorted(batches / name for name in sha1 if name not in (_TEST_FILE, _NAMES))
    test = batches / _TEST_FILE
    total = sum(_count(path) for path in files)
    first_eval = total - total // _EVAL_SHARE
    splits = {
        TRAIN: _records(files, "train", range(first_eval), len(names)),
        EVAL: _records(files, "train", range(first_eval, total), len(names)),
        TEST: _records([test], "test", range(_count(test)), len(names)),
    }
    return output.Prepared(names, splits)


def _locate(source: str, scratch: Path, sha1: Mapping[str, str]) -> Path:
    """The folder with the binary batches."""
    if "://" in source:
        path = scratch / "download"
        archive.download(source, path, MD5)
    else:
        path = Path(source)
        with refusing(UsageError, "--source"):
            if not path.exists():
                raise UsageError(f"--source {source} does not exist")
            if path.is_dir():
                # The archive unpacks into a folder of its own.
                inner = path / "cifar-10-batches-bin"
                return inner if inner.is_dir() else path
    archive.unpack(path, sha1, scratch)
    return scratch


@refusing(DataError, "--source")
def _check(folder: Path, sha1: Mapping[str, str]) -> None:
    for name, expected in sha1.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{name} is missing in the source; give the binary version of CIFAR-10")
        found = _names_digest(folder) if name == _NAMES else output.file_digest(path, "sha1")
        if found != expected:
            raise DataError(
                f"{name} has SHA-1 {found}, expected {expected}; "
                "it is damaged or another file: download it again"
            )


def _names_digest(folder: Path) -> str:
    text = "".join(f"{name}\n" for name in _class_names(folder))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _class_names(folder: Path) -> list[str]:
    try:
        names = (folder / _NAMES).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{_NAMES} is missing in the source or unreadable: {error}") from error
    if not names or len(set(names)) != len(names):
        raise DataError(f"{_NAMES} must hold one distinct class name a line, got {names}")
    return names


def _count(path: Path) -> int:
    count, rest = divmod(path.stat().st_size, _RECORD_BYTES)
    if rest:
        raise DataError(f"{path.name} must be a multiple of {_RECORD_BYTES} bytes long")
    return count


def _records(files: list[Path], prefix: str, wanted: range, classes: int) -> Iterator[Record]:
    """The wanted records of the files one after the other; ids count from 0."""
    first = 0
    for path in files:
        count = _count(path)
        stop = min(wanted.stop - first, count)
        for low in range(max(wanted.start - first, 0), stop, _CHUNK):
            length = min(_CHUNK, stop - low) * _RECORD_BYTES
            raw = np.fromfile(path, np.uint8, length, offset=low * _RECORD_BYTES)
            yield from _to_records(raw.reshape(-1, _RECORD_BYTES), prefix, first + low, classes)
        first += count


def _to_records(raw: np.ndarray, prefix: str, first: int, classes: int) -> Iterator[Record]:
    labels = raw[:, 0].tolist()
    if max(labels) >= classes:
        raise DataError(f"a record has label {max(labels)}, but there are {classes} classes")
    planes = raw[:, 1:].reshape(-1, 3, _SIDE, _SIDE)  # (N, C, H, W)
    files = encode_pngs(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
    for index, (png, label) in enumerate(zip(files, labels, strict=True), start=first):
        yield Record(f"{prefix}_{index:05d}", png, label)
