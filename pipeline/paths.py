"""Paths that can be handed to TFX."""

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
