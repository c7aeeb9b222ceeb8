"""Fetches an archive and unpacks known files from it, trusting neither.

Members are read, never extracted by name: what an archive calls its files has no say in
where they go.
"""

import hashlib
import http.client
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from components.errors import DataError, UsageError, refusing

_LARGEST_DOWNLOAD = 2**28
_LARGEST_CONTENT = 2**29
_TIMEOUT_S = 60
_BLOCK = 2**18


def download(url: str, path: Path, md5: str) -> None:
    """Fetches a file and checks it.

    Raises:
        UsageError: for a scheme other than http and https.
        DataError: without network, or if another file comes.
    """
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"--source {url} must begin with https:// or http://")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, path.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0)
            _copy(answer, file, digest, _Progress(url, total))
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        # The message of a plain URLError is the reason in pointed brackets.
        reason = error.reason if type(error) is urllib.error.URLError else error
        raise DataError(
            f"cannot download {url} ({reason}); check the network, "
            "or give a downloaded archive with --source"
        ) from error
    if digest.hexdigest() != md5:
        raise DataError(
            f"{url} gave a file with MD5 {digest.hexdigest()}, expected {md5}; try again later"
        )


def _copy(source: IO[bytes], target: BinaryIO, digest: "hashlib._Hash", shown: "_Progress") -> None:
    got = 0
    while block := source.read(_BLOCK):
        got += len(block)
        if got > _LARGEST_DOWNLOAD:
            raise DataError(f"the download is larger than {_LARGEST_DOWNLOAD} bytes; stopped")
        target.write(block)
        digest.update(block)
        shown.update(got)
    shown.end()


class _Progress:
    """One line that counts up on a terminal, a line every tenth elsewhere."""

    def __init__(self, url: str, total: int) -> None:
        self._url, self._total, self._told = url, total, -1
        self._on_terminal = sys.stderr.isatty()

    def update(self, got: int) -> None:
        step = 100 if self._on_terminal else 10
        part = got * step // self._total if self._total else got >> 24
        if part == self._told:
            return
        self._told = part
        of = f" of {self._total / 1e6:.0f}" if self._total else ""
        text = f"{self._url}: {got / 1e6:.0f}{of} MB"
        print(
            f"\r{text}" if self._on_terminal else text,
            file=sys.stderr,
            end="" if self._on_terminal else "\n",
            flush=True,
        )

    def end(self) -> None:
        if self._on_terminal:
            print(file=sys.stderr)


class _Capped:
    """Reads a stream of at most so many bytes: a bomb ends as an error."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._file, self._left, self._ready = file, limit, b""

    def read(self, size: int) -> bytes:
        parts = [self._ready]
        have = len(self._ready)
        while have < size and (block := self._next()):
            parts.append(block)
            have += len(block)
        data = b"".join(parts)
        self._ready = data[size:]
        return data[:size]

    def _next(self) -> bytes:
        while not self._inflate.eof:
            pending = self._inflate.unconsumed_tail or self._file.read(_BLOCK)
            if not pending:
                raise EOFError("the archive is cut off")
            if block := self._inflate.decompress(pending, _BLOCK):
                self._left -= len(block)
                if self._left < 0:
                    raise DataError(
                        f"the archive holds more than {_LARGEST_CONTENT} bytes; refused"
                    )
                return block
        return b""


def unpack(archive: Path, wanted: Collection[str], target: Path) -> None:
    """Copies the wanted files of a .tar.gz, by their last name, into a folder.

    Raises:
        DataError: for an unreadable or damaged archive, one with links, devices, paths that
            lead out of it or two wanted files of one name, or one that is too large.
    """
    with refusing(DataError, "--source"):
        opened = archive.open("rb")
    try:
        with opened as file:
            content = _Capped(file, _LARGEST_CONTENT)
            with tarfile.open(fileobj=content, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    _take(tar, member, wanted, target)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is damaged or no .tar.gz archive: {error}") from error


def _take(
    tar: tarfile.TarFile, member: tarfile.TarInfo, wanted: Collection[str], target: Path
) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"the archive holds a path that leads out of it: {member.name!r}; refused")
    if member.isdir():
        return
    if not member.isreg() or member.issparse():
        raise DataError(f"the archive holds {member.name!r}, which is no plain file; refused")
    if path.name not in wanted:
        return
    source = tar.extractfile(member)
    if source is None:
        raise DataError(f"the archive holds {member.name!r}, which cannot be read; refused")
    if (target / path.name).exists():
        raise DataError(f"the archive holds more than one {path.name}; refused")
    with (target / path.name).open("xb") as file:
        while block := source.read(_BLOCK):
            file.write(block)
