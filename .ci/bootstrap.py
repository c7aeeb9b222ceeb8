"""Makes the environment that `make setup` promises, with nothing but Python's standard library.

Parses on any Python 3.6 or later, so that one of the wrong version is told so in a sentence.
On Linux x86-64 with Python 3.11 the environment is exactly requirements.lock, hashes checked;
elsewhere it is resolved from pyproject.toml. What pip and uv say goes to VENV/setup.log.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Iterator, List, Optional, Tuple, Union

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "pyproject.toml"
LOCK = ROOT / "requirements.lock"
LOCK_HEADER = (
    "# Linux x86-64, Python 3.11. Written by `make lock` from pyproject.toml: do not edit.\n"
)
STAMP = ".setup-done"
LOG = "setup.log"

FIRST_PYTHON = (3, 11)
END_PYTHON = (3, 14)
# The oldest glibc that has a wheel of everything (TensorFlow 2.21 asks for 2.27) ...
GLIBC = (2, 28)
LOCK_PLATFORM = "x86_64-manylinux_2_28"
# ... and for Python 3.12 and later (TensorFlow Data Validation and ML Metadata 1.21).
GLIBC_NEW_PYTHON = (2, 39)

# What the installers say, and what a person needs to hear; the first that fits is told.
FAULTS = (
    (r"No space left on device|Disk quota exceeded", "the disk is full; 4 GB are needed"),
    (
        r"hash mismatch|do not match the hashes",
        "a downloaded package does not have the hash that requirements.lock names",
    ),
    (
        r"dns error|name resolution|Name or service not known|NewConnectionError|timed out"
        r"|error sending request|Connection refused|Network is unreachable|ProxyError|tcp connect",
        "the package index cannot be reached; the set-up needs the network, once",
    ),
    (
        r"No solution found",
        "a package has no release for this machine; Linux on x86-64 or Apple silicon is needed",
    ),
    (r"Failed to build|Failed building wheel", "a package could not be built from source"),
)


class SetupError(Exception):
    """A sentence for the person at the terminal."""


def check_python() -> None:
    """Refuses a Python that some library of the set has no wheel for."""
    version = sys.version_info[:2]
    here = "{} ({})".format(platform.python_version(), sys.executable)
    advice = "install Python 3.11 and name it: make setup PYTHON=python3.11"
    if not FIRST_PYTHON <= version < END_PYTHON:
        raise SetupError(
            "Python 3.11 is needed (or 3.12 or 3.13 with glibc 2.39 or later), but this is"
            " Python {}; {}".format(here, advice)
        )
    if not sys.platform.startswith("linux"):
        return
    glibc = glibc_version()
    if glibc is None:
        raise SetupError(
            "TensorFlow has Linux wheels for glibc only, and Python {} uses another C library;"
            " use a glibc system such as Debian, Ubuntu or Fedora".format(here)
        )
    needed = GLIBC if version == FIRST_PYTHON else GLIBC_NEW_PYTHON
    if glibc < needed:
        raise SetupError(
            "Python {} needs glibc {}.{} or later here, but this machine has {}.{}; {}".format(
                here,
                *(needed + glibc),
                "use a newer system" if version == FIRST_PYTHON else advice,
            )
        )


def glibc_version() -> Optional[Tuple[int, int]]:
    """The C library's version, as (2, 36); None where it is not glibc."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return None
    found = re.match(r"glibc (\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else None


def check_tools() -> None:
    """Refuses a machine on which pyfarmhash, which has no wheels, cannot be built."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            "the venv module of this Python ({}) is missing; install it"
            " (Debian, Ubuntu: apt-get install python3-venv)".format(sys.executable)
        ) from None
    for variable, plain in (("CC", "cc"), ("CXX", "c++")):
        words = (os.environ.get(variable) or sysconfig.get_config_var(variable) or plain).split()
        if shutil.which(words[0]) is None:
            raise SetupError(
                "the C++ compiler is missing: no {} on this machine; install it"
                " (Debian, Ubuntu: apt-get install g++)".format(words[0])
            )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise SetupError(
            "the Python headers are missing: no {}; install them"
            " (Debian, Ubuntu: apt-get install python3-dev)".format(header)
        )


def uses_lock() -> bool:
    """Whether this machine and Python are those of requirements.lock."""
    here = (sys.platform, platform.machine(), sys.version_info[:2])
    return here == ("linux", "x86_64", FIRST_PYTHON)


def fingerprint() -> str:
    """What the environment depends on, in a line; the same line means nothing to do."""
    digest = hashlib.sha256()
    for path in (PROJECT, LOCK, Path(__file__)):
        digest.update(path.read_bytes() + b"\0")
    return "{} {} {} {}".format(python_name(), digest.hexdigest(), platform.machine(), ROOT)


def python_name() -> str:
    """The Python that runs this, to the minor version: python3.11."""
    return "python{}.{}".format(*sys.version_info[:2])


def locked(name: str) -> str:
    """The entry of one package in requirements.lock, with its hashes."""
    entry = r"^{}==\S+(?: \\\n +--hash=\S+)+".format(re.escape(name))
    found = re.search(entry, LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError("{} has no entry for {}; restore it from git".format(LOCK, name))
    return found.group() + "\n"


class Environment:
    """A virtual environment in the making, and the log of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / LOG
        self.stamp = path / STAMP
        self.uv = path / "bin" / "uv"

    def is_current(self) -> bool:
        """Whether a set-up for the present files has come to its end here."""
        return self.stamp.exists() and self.stamp.read_text() == fingerprint()

    def update(self) -> None:
        """Installs what is missing; starts anew where the last set-up did not come to its end."""
        keep = self.stamp.exists() and self.stamp.read_text().split()[0] == python_name()
        # No stamp while the environment is neither the old nor the new one.
        if self.stamp.exists():
            self.stamp.unlink()
        if not (keep and self.uv.exists()):
            self._create()
        self._install()
        unfinished = self.path / (STAMP + ".new")
        unfinished.write_text(fingerprint())
        unfinished.rename(self.stamp)

    def lock(self, options: List[str]) -> None:
        """Writes requirements.lock; versions stay unless `--upgrade` is among the options."""
        self._run(
            *(self.uv, "pip", "compile", PROJECT, "--all-extras", "--output-file", LOCK),
            *("--generate-hashes", "--no-annotate", "--no-header", "--python-version", "3.11"),
            *("--python-platform", LOCK_PLATFORM, *options),
        )
        LOCK.write_text(LOCK_HEADER + LOCK.read_text())

    def _create(self) -> None:
        if self.path.exists():
            self._remove()
        self.path.mkdir(parents=True)
        self.log.touch()
        # From within the old environment: the Python that it was made with.
        base = getattr(sys, "_base_executable", None) or sys.executable
        self._run(base, "-m", "venv", self.path)
        requirement = self.path / "uv.txt"
        requirement.write_text(locked("uv"))
        self._run(
            *(self.path / "bin" / "python", "-m", "pip", "install", "--retries", "2"),
            *("--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", requirement),
        )

    def _remove(self) -> None:
        # A wrong VENV=... must not cost anyone a folder of theirs.
        ours = any((self.path / name).exists() for name in ("pyvenv.cfg", LOG))
        if not ours and any(self.path.iterdir()):
            raise SetupError(
                "{} is there and is no virtual environment; name another folder with"
                " VENV=... or remove it".format(self.path)
            )
        shutil.rmtree(str(self.path))

    def _install(self) -> None:
        # Bytecode now: every command and worker would compile TFX's modules again where
        # Python may not write it.
        install = (self.uv, "pip", "install", "--python", self.path)
        if not uses_lock():
            extras = "{}[pipeline,dev]".format(ROOT)
            self._run(*install, "--compile-bytecode", "--editable", extras)
            return
        self._run(
            *(self.uv, "pip", "sync", "--python", self.path, "--compile-bytecode"),
            *("--require-hashes", "--build-constraints", LOCK, LOCK),
        )
        self._run(*install, "--no-deps", "--no-build-isolation", "--editable", ROOT)

    def _run(self, *command: Union[str, Path]) -> None:
        words = [str(word) for word in command]
        with self.log.open("ab") as log:
            log.write(("$ " + " ".join(words) + "\n").encode())
            log.flush()
            start = log.tell()
            code = subprocess.call(
                words, cwd=str(ROOT), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if code:
            raise SetupError(self._reason(start, words))

    def _reason(self, start: int, words: List[str]) -> str:
        said = self.log.read_bytes()[start:].decode("utf-8", "replace")
        reason = "`{} ...` failed".format(" ".join(words[:4]))
        for pattern, meaning in FAULTS:
            if re.search(pattern, said, re.IGNORECASE):
                reason = meaning
                break
        return "{}; the installer's own words are in {}".format(reason, self.log)


def set_up(environment: Environment) -> None:
    """Checks the machine, then makes or updates the environment."""
    check_python()
    check_tools()
    print("Setting up {} (4 GB; a minute or more)".format(environment.path), flush=True)
    start = time.time()
    environment.update()
    print("Set up in {:.0f} s".format(time.time() - start), flush=True)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Holds the project for this process: two set-ups at once wait for each other."""
    with PROJECT.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is at work here; waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main(arguments: List[str]) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("venv", help="folder of the environment")
    parser.add_argument("--lock", action="store_true", help="write requirements.lock again")
    options, rest = parser.parse_known_args(arguments)
    environment = Environment(Path(options.venv).absolute())
    try:
        with alone():
            if options.lock:
                environment.lock(rest)
            elif not environment.is_current():
                set_up(environment)
    except (SetupError, OSError) as error:
        print("vitpipe setup: {}".format(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vitpipe setup: interrupted; the next call starts anew", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
