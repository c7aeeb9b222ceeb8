"""Finds the image files of a folder that has one folder a class."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import DataError, UsageError, refusing

_IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic")
)
# Folders of that name are splits made by somebody, not classes.
_SPLIT_NAMES = frozenset(("train", "val", "valid", "validation", "eval", "test"))


@dataclass(frozen=True)
class Candidate:
    """A file that looks like an image of a class."""

    name: str  # path below the source, with slashes; the record's id
    path: Path
    label: int


@dataclass
class Listing:
    """What a source folder holds."""

    class_names: tuple[str, ...]
    candidates: list[Candidate] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)  # name to reason
    ignored: list[str] = field(default_factory=list)  # no image by their suffix


def list_images(source: Path) -> Listing:
    """Lists all files below each class folder, in the order of their names.

    Hidden files and folders are left out; a folder that cannot be read is bad. A symbolic
    link is followed only to a file inside the source.

    Raises:
        UsageError: if the source is no folder, or cannot be read.
        DataError: if it has no class folders, or has splits in their place.
    """
    with refusing(UsageError, "--source"):
        if not source.is_dir():
            raise UsageError(
                f"--source {source} is no folder; it needs one folder of images a class"
            )
        entries = sorted(entry for entry in os.listdir(source) if not entry.startswith("."))
        classes = [entry for entry in entries if (source / entry).is_dir()]
    _check_classes(source, classes)
    listing = Listing(tuple(classes))
    listing.ignored += [entry for entry in entries if entry not in classes]
    root = source.resolve()
    for label, name in enumerate(classes):
        if (source / name).is_symlink():
            listing.bad[name] = "a symbolic link to a folder, which is not followed"
        else:
            _walk(source, root, name, label, listing)
    return listing


def _check_classes(source: Path, classes: list[str]) -> None:
    if not classes:
        raise DataError(f"{source} has no folders; put the images into one folder a class")
    if set(classes) <= _SPLIT_NAMES:
        raise DataError(
            f"{source} is split already ({', '.join(classes)}); give a folder with one folder a "
            "class, the splits are made here"
        )
    for name in classes:
        if name != name.strip() or len(name.splitlines()) != 1 or not _is_text(name):
            raise DataError(
                f"{name!r} cannot be a class name; rename it to one line of text without "
                "blanks around it"
            )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        # The file system holds bytes that are no UTF-8.
        return False
    return True


def _walk(source: Path, root: Path, below: str, label: int, listing: Listing) -> None:
    try:
        entries = sorted(os.listdir(source / below))
    except OSError as error:
        listing.bad[below] = f"a folder that cannot be read: {error.strerror}"
        return
    for entry in entries:
        name = f"{below}/{entry}"
        path = source / name
        if entry.startswith("."):
            continue
        if os.path.isdir(path):
            if path.is_symlink():
                listing.bad[name] = "a symbolic link to a folder, which is not followed"
            else:
                _walk(source, root, name, label, listing)
        elif path.suffix.lower() not in _IMAGE_SUFFIXES:
            listing.ignored.append(name)
        elif (reason := _refusal(path, name, root)) is not None:
            listing.bad[name] = reason
        else:
            listing.candidates.append(Candidate(name, path, label))


def _refusal(path: Path, name: str, root: Path) -> str | None:
    if not _is_text(name):
        return "its name is no UTF-8 text"
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            return "a symbolic link that leads out of the source folder"
        mode = path.stat().st_mode
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if stat.S_ISREG(mode) else "no regular file"
