"""Paths that a run can work with."""

import os
from pathlib import Path

from components.errors import UsageError

# TensorFlow's and Beam's file systems match patterns, also where one path is meant.
_WILDCARDS = frozenset("*?[\\")


def require_plain(path: Path, what: str) -> None:
    """UsageError for a path that would be read as a pattern, and could mean another one."""
    found = sorted(_WILDCARDS.intersection(str(path)))
    if found:
        raise UsageError(
            f"{what}: TFX reads {' '.join(found)} in a path as a wildcard, and {path} could match "
            "others; rename it, or give a symbolic link to it that has a plain name"
        )


def require_writable(folder: Path, what: str) -> None:
    """UsageError for a folder that is not there and cannot be made, or cannot be written to."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        reason = "may not be written" if place.is_dir() else "is no folder"
        raise UsageError(f"{what}: {folder} cannot be used, as {place} {reason}")
