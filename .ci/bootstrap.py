"""Makes the environment that `make setup` promises, with nothing but Python's standard library.

Runs on any Python 3.6 or later, so that one of the wrong version is told so in a sentence.
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

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "pyproject.toml"
LOCK = ROOT / "requirements.lock"
LOCK_HEADER = (
    "# Linux x86-64, Python 3.11. Written by `make lock` from pyproject.toml: do not edit.\n"
)
# The oldest glibc that every wheel in the lock runs on (TensorFlow's ask for 2.27).
LOCK_PLATFORM = "x86_64-manylinux_2_28"
STAMP = ".setup-done"
LOG = "setup.log"

PYTHON_3_11 = (3, 11)
PYTHON_END = (3, 14)
# TensorFlow Data Validation and ML Metadata: wheels for Python 3.12+ exist from here on.
NEW_PYTHON_GLIBC = (2, 39)
OLD_PYTHON_GLIBC = (2, 28)

NETWORK_FAULTS = re.compile(
    r"dns error|name resolution|Name or service not known|NewConnectionError|ConnectTimeout"
    r"|error sending request|client error \(Connect\)|Failed to fetch|Connection refused"
    r"|Network is unreachable|operation timed out|Read timed out|ProxyError",
    re.IGNORECASE,
)
DISK_FAULTS = re.compile(r"No space left on device|Disk quota exceeded")
BUILD_FAULTS = re.compile(r"Failed to build|failed to build|Failed building wheel")


class SetupError(Exception):
    """A sentence for the person at the terminal."""


def check_python():
    """Refuses a Python that some library of the set has no wheel for."""
    version = tuple(sys.version_info[:2])
    name = "{} ({})".format(platform.python_version(), sys.executable)
    advice = "install Python 3.11 and name it: make setup PYTHON=python3.11"
    if not PYTHON_3_11 <= version < PYTHON_END:
        raise SetupError(
            "Python 3.11, or 3.12 or 3.13 with glibc 2.39 or later, is needed,"
            " but this is {}; {}".format(name, advice)
        )
    if not sys.platform.startswith("linux"):
        return
    glibc = glibc_version()
    if glibc is None:
        raise SetupError(
            "TensorFlow has wheels for Linux with glibc only, and this Python uses another C"
            " library; use a Debian, Ubuntu or Fedora machine or image"
        )
    needed = OLD_PYTHON_GLIBC if version == PYTHON_3_11 else NEW_PYTHON_GLIBC
    if glibc < needed:
        raise SetupError(
            "Python {} needs glibc {}.{} or later, but this machine has {}.{}; {}".format(
                name, *(needed + glibc), advice if version > PYTHON_3_11 else "use a newer system"
            )
        )


def glibc_version():
    """The C library's version, as (2, 36); None where it is not glibc."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return None
    found = re.match(r"glibc (\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else None


def check_tools():
    """Refuses a machine on which pyfarmhash, which has no wheels, cannot be built."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            "this Python ({}) has no venv module; install it"
            " (Debian, Ubuntu: apt-get install python3-venv)".format(sys.executable)
        ) from None
    for variable, plain in (("CC", "cc"), ("CXX", "c++")):
        words = (os.environ.get(variable) or sysconfig.get_config_var(variable) or plain).split()
        if shutil.which(words[0]) is None:
            raise SetupError(
                "no C++ compiler: {} ({}) is not on this machine; install it"
                " (Debian, Ubuntu: apt-get install g++)".format(words[0], variable)
            )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise SetupError(
            "the Python headers are missing ({}); install them"
            " (Debian, Ubuntu: apt-get install python3-dev)".format(header)
        )


def uses_lock():
    """Whether this machine and Python are those of requirements.lock."""
    return (
        sys.platform.startswith("linux")
        and platform.machine() == "x86_64"
        and tuple(sys.version_info[:2]) == PYTHON_3_11
    )


def fingerprint():
    """What the environment depends on, in a line; the same line means nothing to do."""
    digest = hashlib.sha256()
    for path in (PROJECT, LOCK, Path(__file__)):
        digest.update(path.read_bytes() + b"\0")
    return "{} python{}.{} {} {}".format(
        digest.hexdigest(), sys.version_info[0], sys.version_info[1], platform.machine(), ROOT
    )


class Environment:
    """A virtual environment in the making, and the log of it."""

    def __init__(self, path):
        """Takes the folder that is or becomes the environment."""
        self.path = path
        self.log = path / LOG
        self.stamp = path / STAMP
        self.python = path / "bin" / "python"
        self.uv = path / "bin" / "uv"

    def is_current(self):
        """Whether a set-up for the present files has been finished here."""
        return self.stamp.exists() and self.stamp.read_text() == fingerprint()

    def update(self):
        """Installs what is missing; from scratch where the last set-up did not end."""
        in_place = self.stamp.exists() and self._same_python()
        if self.stamp.exists():
            self.stamp.unlink()
        if not in_place:
            self._create()
        if uses_lock():
            self._run(self.uv, "pip", "sync", "--require-hashes", "--compile-bytecode",
                      "--build-constraints", LOCK, LOCK)  # fmt: skip
            self._run(self.uv, "pip", "install", "--no-deps", "--no-build-isolation", "-e", ROOT)
        else:
            self._run(self.uv, "pip", "install", "--compile-bytecode",
                      "-e", "{}[pipeline,dev]".format(ROOT))  # fmt: skip
        unfinished = self.path / (STAMP + ".tmp")
        unfinished.write_text(fingerprint())
        unfinished.rename(self.stamp)

    def _same_python(self):
        here = "python{}.{} ".format(*sys.version_info[:2])
        return here in self.stamp.read_text() and self.uv.exists()

    def _create(self):
        if self.path.exists():
            self._remove()
        self.path.mkdir(parents=True)
        self.log.touch()
        # From within the old environment, the Python it was made with.
        base = getattr(sys, "_base_executable", None) or sys.executable
        self._run(base, "-m", "venv", self.path)
        requirement = self.path / "uv.txt"
        requirement.write_text(locked("uv"))
        self._run(self.python, "-m", "pip", "install", "--disable-pip-version-check",
                  "--retries", "2", "--no-deps", "--only-binary", ":all:", "--require-hashes",
                  "-r", requirement)  # fmt: skip

    def _remove(self):
        # A wrong VENV=... must not cost anyone a folder of theirs.
        ours = any((self.path / name).exists() for name in ("pyvenv.cfg", LOG))
        if not ours and any(self.path.iterdir()):
            raise SetupError(
                "{} is there and is no virtual environment; name another folder with"
                " VENV=... or remove it".format(self.path)
            )
        shutil.rmtree(str(self.path))

    def _run(self, *command):
        words = [str(word) for word in command]
        environment = dict(os.environ, VIRTUAL_ENV=str(self.path), UV_NO_PROGRESS="1")
        environment.pop("PYTHONPATH", None)
        environment.pop("PYTHONHOME", None)
        with self.log.open("ab") as log:
            start = log.tell()
            log.write(("$ " + " ".join(words) + "\n").encode())
            log.flush()
            code = subprocess.call(
                words, cwd=str(ROOT), env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
        if code:
            raise SetupError(self._why(start, words))

    def _why(self, start, words):
        with self.log.open("rb") as log:
            log.seek(start)
            text = log.read().decode("utf-8", "replace")
        if DISK_FAULTS.search(text):
            reason = "the disk is full; the environment takes 4 GB"
        elif NETWORK_FAULTS.search(text):
            reason = "the package index cannot be reached; the set-up needs the network once"
        elif BUILD_FAULTS.search(text):
            reason = "a package could not be built from source"
        else:
            reason = "'{}' failed".format(" ".join(words[:4]))
        return "{}; all of it is in {}".format(reason, self.log)


def locked(name):
    """The entry of one package in requirements.lock, with its hashes."""
    found = re.search(r"^{}==\S+(?: \\\n +--hash=\S+)+".format(re.escape(name)), LOCK.read_text(), re.M)
    if found is None:
        raise SetupError("requirements.lock has no {}; run `git checkout {}`".format(name, LOCK))
    return found.group() + "\n"


def write_lock(environment, options):
    """Resolves pyproject.toml again; versions stay unless `--upgrade` is among the options."""
    environment._run(
        environment.uv, "pip", "compile", PROJECT, "--all-extras", "--generate-hashes",
        "--no-annotate", "--no-header", "--python-version", "3.11",
        "--python-platform", LOCK_PLATFORM, "--output-file", LOCK, *options,
    )  # fmt: skip
    LOCK.write_text(LOCK_HEADER + LOCK.read_text())


@contextlib.contextmanager
def alone():
    """Holds the project for this process: two set-ups at once wait for each other."""
    with PROJECT.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is at work here; waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main(arguments):
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("venv", help="folder of the environment")
    parser.add_argument("--lock", action="store_true", help="write requirements.lock again")
    options, rest = parser.parse_known_args(arguments)
    environment = Environment(Path(options.venv).absolute())
    try:
        with alone():
            if options.lock:
                write_lock(environment, rest)
            elif not environment.is_current():
                set_up(environment)
    except SetupError as error:
        print("vitpipe setup: {}".format(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vitpipe setup: interrupted; the next call starts anew", file=sys.stderr)
        return 130
    return 0


def set_up(environment):
    """Checks the machine, then makes or updates the environment."""
    check_python()
    check_tools()
    print(
        "Setting up {} (3 GB, some minutes the first time); details in {}".format(
            environment.path, environment.log
        ),
        flush=True,
    )
    start = time.time()
    environment.update()
    print("Set up in {:.0f} s".format(time.time() - start), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
