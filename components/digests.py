"""Digests of our own source, so that an edit of the code misses the cache.

TFX's cache key knows a component's parameters but not the code behind an import path.
Every stage therefore carries, as a parameter, the digest of the modules it imports.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("models", "components")
# A change of these gives other numbers from the same source.
_LIBRARIES = ("tensorflow", "keras", "tensorflow-transform", "tfx")


def source_digest(module: str) -> str:
    """SHA-256 over a module of ours and all modules of ours that it imports, to any depth.

    Args:
        module: dotted name, as in `components.training`.

    Returns:
        64 hex digits; the versions of the libraries that compute are part of it.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        digest.update(name.encode() + b"\0" + _source(name).read_bytes() + b"\0")
    for library in _LIBRARIES:
        digest.update(f"{library}=={importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_imports(name))
    return seen


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_source(module).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from room import module` and `from room.module import name` look alike.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if _find(name) is not None)


def _source(module: str) -> Path:
    path = _find(module)
    if path is None:
        raise ImportError(f"no source file for module {module!r}")
    return path


def _find(module: str) -> Path | None:
    """The file of a module of ours, found without importing anything but the room."""
    room, *rest = module.split(".")
    spec = importlib.util.find_spec(room) if room in ROOMS else None
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*rest)
    files = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)
