"""Finds out what a data set on disk holds, whoever wrote it.

Ours has a manifest, and its files are only compared with it. A data set in the layout of
CIFAR-10 in TensorFlow Datasets has none: all its records are read.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contract import EVAL, LABEL, LABELS_FILE, SPLITS, TEST, TRAIN
from components.errors import DataError, UsageError, refusing
from pipeline.data.output import check_files, file_digest, read_manifest
from pipeline.data.records import is_gzip, read_frames
from pipeline.data.wire import int64_feature
from pipeline.paths import require_plain

# More than any data set of images has; a wrong label must not make millions of names.
_MOST_CLASSES = 100_000
_FOLDERS = {TRAIN: ("train",), EVAL: ("eval", "validation", "val"), TEST: ("test",)}


@dataclass(frozen=True)
class Shard:
    """One TFRecord file."""

    path: Path
    gzip: bool
    examples: int
    sha256: str  # of the file as it lies there


@dataclass(frozen=True)
class Split:
    """The records that one stage trains on or is measured on."""

    folder: Path
    shards: tuple[Shard, ...]
    label_counts: Mapping[int, int]  # also labels that belong to no class

    @property
    def examples(self) -> int:
        """Records, also those without a label."""
        return sum(shard.examples for shard in self.shards)

    def per_class(self, classes: int) -> list[int]:
        """Records of each class 0 .. classes - 1."""
        return [self.label_counts.get(label, 0) for label in range(classes)]


@dataclass(frozen=True)
class DataSet:
    """A data set as it was found."""

    directory: Path
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]  # train, eval and test, in this order
    digest: str  # SHA-256 hex over class names and content of all shards

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """The shards of each split, sorted by name."""
        return {name: tuple(s.path for s in split.shards) for name, split in self.splits.items()}

    @property
    def examples(self) -> dict[str, int]:
        """Records of each split."""
        return {name: split.examples for name, split in self.splits.items()}

    @property
    def label_counts(self) -> dict[str, Mapping[int, int]]:
        """Records of each label in each split."""
        return {name: split.label_counts for name, split in self.splits.items()}


@refusing(DataError, "--data")
def read_dataset(directory: Path) -> DataSet:
    """Reads all labels of a data set, or its manifest.

    Labels outside the classes are counted, not refused: that is the validation gate's part.

    Raises:
        UsageError: if there is no such folder, or TFX would read a path as a pattern.
        DataError: if a split is missing, empty, or has a file that is damaged, unreadable or no
            TFRecord.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is no folder; name one with train, eval and test, "
            "as `vitpipe data` makes it"
        )
    directory = directory.absolute()
    # As it is given, not resolved: TFX gets this path.
    require_plain(directory, "--data")
    manifest = read_manifest(directory)
    if manifest is not None:
        check_files(directory, manifest)
        splits = {name: _from_manifest(directory, name, manifest) for name in SPLITS}
    else:
        splits = {name: _from_records(_split_folder(directory, name)) for name in SPLITS}
    for split in splits.values():
        if split.examples == 0:
            raise DataError(f"{split.folder} holds no records; each split needs at least one")
    names = _class_names(directory, splits[TRAIN].label_counts)
    return DataSet(directory, names, splits, _digest(names, splits))


def _from_manifest(directory: Path, name: str, manifest: Mapping[str, Any]) -> Split:
    content = manifest["splits"][name]
    folder = directory / name
    shards = tuple(
        Shard(folder / entry["file"], True, entry["examples"], entry["sha256"])
        for entry in content["shards"]
    )
    for shard in shards:
        require_plain(shard.path, "--data")
    more = sorted(set(os.listdir(folder)) - {shard.path.name for shard in shards})
    if more:
        raise DataError(f"{folder / more[0]} is not in the manifest of {directory}; remove it")
    return Split(folder, shards, dict(enumerate(content["per_class"])))


def _split_folder(directory: Path, split: str) -> Path:
    found = [name for name in _FOLDERS[split] if (directory / name).is_dir()]
    if len(found) != 1:
        expected = " or ".join(f"{name}/" for name in _FOLDERS[split])
        problem = f"has both {found[0]}/ and {found[1]}/" if found else f"has no folder {expected}"
        raise DataError(
            f"{directory} {problem}; a data set has one folder of TFRecord files for each of "
            "train, eval and test"
        )
    return directory / found[0]


def _from_records(folder: Path) -> Split:
    labels: Counter[int] = Counter()
    shards = []
    for path in sorted(folder.iterdir()):
        require_plain(path, "--data")
        if not path.is_file():
            raise DataError(f"{path} is no file; a split's folder may hold only TFRecord files")
        examples = 0
        for data in read_frames(path):
            labels.update(_labels(path, examples, data))
            examples += 1
        shards.append(Shard(path, is_gzip(path), examples, file_digest(path)))
    return Split(folder, tuple(shards), dict(sorted(labels.items())))


def _labels(path: Path, index: int, data: bytes) -> list[int]:
    try:
        values = int64_feature(data, LABEL.encode())
    except ValueError as error:
        raise DataError(
            f"{path.parent.name}/{path.name}: record {index} is no tf.train.Example: {error}"
        ) from error
    # None or several labels are for the schema to refuse.
    return (values or [])[:1]


def _class_names(directory: Path, train_labels: Mapping[int, int]) -> tuple[str, ...]:
    path = directory / LABELS_FILE
    if not path.exists():
        classes = max(train_labels, default=-1) + 1
        if not 1 <= classes <= _MOST_CLASSES:
            raise DataError(
                f"the largest label of the training split of {directory} is {classes - 1}; "
                f"expected 0 .. {_MOST_CLASSES - 1}, or {LABELS_FILE} with the class names"
            )
        return tuple(str(label) for label in range(classes))
    try:
        names = tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text, one class name a line: {error}") from error
    if not names or "" in names or len(set(names)) != len(names):
        raise DataError(f"{path} must hold one distinct class name a line, no line empty")
    return names


def _digest(names: tuple[str, ...], splits: Mapping[str, Split]) -> str:
    digest = hashlib.sha256("\0".join(names).encode())
    for name, split in splits.items():
        digest.update(f"\n{name}".encode())
        for shard in split.shards:
            digest.update(bytes.fromhex(shard.sha256))
    return digest.hexdigest()
