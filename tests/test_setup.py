"""`make setup` on machines that lack something, and from nothing with an index of its own.

Every test runs the project's own Makefile and set-up program, in a copy. The packages are
wheels made here, so that nothing comes from the network; pip, uv and venv are the real ones.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHON = str(getattr(sys, "_base_executable", sys.executable))
UNREACHABLE = "http://127.0.0.1:9/simple"
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "small"
version = "1"
dependencies = []
[project.optional-dependencies]
pipeline = ["first"]
dev = ["uv"]
[tool.setuptools]
py-modules = []
"""


def pack(path: Path, files: dict[str, bytes]) -> str:
    """Writes a wheel; returns its entry for a lock."""
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            entry = zipfile.ZipInfo(inside)
            entry.external_attr = (0o100755 if "/scripts/" in inside else 0o100644) << 16
            archive.writestr(entry, content)
    name, version = path.name.split("-")[:2]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


def new_wheel(index: Path, name: str, files: dict[str, bytes]) -> str:
    """A wheel, version 1, of some files."""
    info = f"{name}-1.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{inside},,\n" for inside in [*files, f"{info}/RECORD"])
    return pack(index / f"{name}-1-py3-none-any.whl", {**files, f"{info}/RECORD": record.encode()})


def repacked_wheel(index: Path, name: str) -> str:
    """The wheel of a pure package that is installed here."""
    files = {
        str(file): file.read_binary()
        for file in metadata.files(name) or []
        if ".." not in file.parts and file.suffix != ".pyc"
    }
    return pack(index / f"{name}-{metadata.version(name)}-py3-none-any.whl", files)


class Project:
    """A copy of the set-up, with a small pyproject.toml and an index of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.index = folder / "index"
        self.index.mkdir()
        self.lock = self.folder / "requirements.lock"
        self.log = self.folder / ".venv/setup.log"
        self.stamp = self.folder / ".venv/.setup-done"
        shutil.copytree(ROOT / ".ci", self.folder / ".ci")
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / "pyproject.toml").write_text(PROJECT)
        uv = shutil.which("uv", path=str(Path(sys.executable).parent))
        self.entries = {
            # The real uv, without copying its 50 MB for each test.
            "uv": new_wheel(
                self.index,
                "uv",
                {"uv-1.data/scripts/uv": f'#!/bin/sh\nexec "{uv}" "$@"\n'.encode()},
            ),
            "setuptools": repacked_wheel(self.index, "setuptools"),
            "first": new_wheel(self.index, "first", {"first.py": b""}),
            "second": new_wheel(self.index, "second", {"second.py": b""}),
        }
        self.write_lock("uv", "setuptools", "first")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "MAKE"))},
            "PYTHON": PYTHON,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(self.index),
            "UV_CACHE_DIR": str(folder / "cache"),
        }
        self.environment.pop("VIRTUAL_ENV", None)

    def write_lock(self, *names: str) -> None:
        self.lock.write_text("# header\n" + "".join(self.entries[name] for name in names))

    def patch_python(self, program: str) -> None:
        """Lets every Python that is started say something else about itself."""
        folder = self.folder / "patched"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(textwrap.dedent(program))
        self.environment["PYTHONPATH"] = str(folder)

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", "setup", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def refusal(self, *arguments: str) -> str:
        """What a set-up that fails tells: one sentence, besides make's own line."""
        done = self.setup(*arguments)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
        assert done.returncode != 0
        assert len(lines) == 1, done.stderr
        assert not self.stamp.exists()
        return lines[0]

    def installed(self) -> set[str]:
        found = (self.folder / ".venv/lib").glob("python*/site-packages/*.dist-info")
        return {path.name.split("-")[0] for path in found}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0)])
def test_python_of_another_version_is_refused(project: Project, version: tuple[int, ...]) -> None:
    text = ".".join(map(str, version))
    project.patch_python(f"""
        import platform, sys
        sys.version_info = ({text.replace(".", ", ")}, "final", 0)
        platform.python_version = lambda: "{text}"
    """)
    said = project.refusal()
    assert "Python 3.11 is needed" in said
    assert f"this is Python {text}" in said
    assert "make setup PYTHON=python3.11" in said


def test_new_python_on_an_old_glibc_is_refused(project: Project) -> None:
    project.patch_python("""
        import os, sys
        sys.version_info = (3, 12, 1, "final", 0)
        os.confstr = lambda name: "glibc 2.36"
    """)
    said = project.refusal()
    assert "needs glibc 2.39 or later" in said
    assert "this machine has 2.36" in said


def test_c_library_other_than_glibc_is_refused(project: Project) -> None:
    project.patch_python("""
        import os
        def confstr(name):
            raise ValueError("unrecognized configuration name")
        os.confstr = confstr
    """)
    assert "glibc only" in project.refusal()


@pytest.mark.parametrize("name", ["/nowhere/python3", "false"])
def test_name_that_is_no_python_is_refused(project: Project, name: str) -> None:
    assert f"'{name}' is no Python 3" in project.refusal(f"PYTHON={name}")


def test_missing_compiler_is_named(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh", "test", "echo"):
        (tools / name).symlink_to(str(shutil.which(name)))
    for name in ("CC", "CXX"):
        project.environment.pop(name, None)
    project.environment["PATH"] = str(tools)
    said = project.refusal()
    assert "the C++ compiler is missing" in said
    assert "apt-get install g++" in said


def test_missing_headers_are_named(project: Project) -> None:
    project.patch_python("""
        import sysconfig
        sysconfig.get_path = lambda name, *rest: "/nowhere/include"
    """)
    said = project.refusal()
    assert "the Python headers are missing: no /nowhere/include/Python.h" in said
    assert "apt-get install python3-dev" in said


def test_missing_venv_module_is_named(project: Project) -> None:
    # As on Debian, where the package python3 has venv but not what it needs.
    project.patch_python("""
        import sys
        sys.modules["ensurepip"] = None
    """)
    assert "apt-get install python3-venv" in project.refusal()


def test_no_network_is_told_in_a_sentence(project: Project) -> None:
    project.environment |= {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": UNREACHABLE}
    project.environment.pop("PIP_FIND_LINKS")
    said = project.refusal()
    assert "the package index cannot be reached" in said
    assert str(project.log) in said


def test_network_that_fails_later_is_told_in_a_sentence(project: Project) -> None:
    del project.environment["UV_OFFLINE"], project.environment["UV_FIND_LINKS"]
    project.environment |= {"UV_DEFAULT_INDEX": UNREACHABLE, "UV_HTTP_RETRIES": "0"}
    assert "the package index cannot be reached" in project.refusal()


def test_folder_of_somebody_else_is_left_alone(project: Project) -> None:
    (project.folder / "mine").mkdir()
    (project.folder / "mine/thesis.txt").write_text("years of work")
    assert "is no virtual environment" in project.refusal("VENV=mine")
    assert (project.folder / "mine/thesis.txt").read_text() == "years of work"


def test_environment_follows_the_lock(project: Project) -> None:
    first = project.setup()
    assert first.returncode == 0, first.stderr
    assert {"uv", "setuptools", "first", "small"} <= project.installed()

    log = project.log.read_bytes()
    again = project.setup()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert project.log.read_bytes() == log

    project.write_lock("uv", "setuptools", "second")
    assert project.setup().returncode == 0
    assert "second" in project.installed()
    assert "first" not in project.installed()
    assert b"-m venv" not in project.log.read_bytes()[len(log) :]


def test_set_up_that_was_killed_heals(project: Project) -> None:
    command = ["make", "setup"]
    process = subprocess.Popen(
        command, cwd=project.folder, env=project.environment, start_new_session=True
    )
    while not (project.log.exists() and b"-m venv" in project.log.read_bytes()):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not project.stamp.exists()

    done = project.setup()
    assert done.returncode == 0, done.stderr
    assert "first" in project.installed()


def test_package_with_another_hash_is_refused(project: Project) -> None:
    entry = project.entries["first"]
    project.entries["first"] = entry[:-4] + ("000\n" if entry[-4:] != "000\n" else "111\n")
    project.write_lock("uv", "setuptools", "first")
    assert "does not have the hash that requirements.lock names" in project.refusal()


def test_other_machines_resolve_from_pyproject(project: Project) -> None:
    project.patch_python("""
        import platform
        platform.machine = lambda: "aarch64"
    """)
    done = project.setup()
    assert done.returncode == 0, done.stderr
    assert "first" in project.installed()
    assert b"--require-hashes -r" in project.log.read_bytes()
    assert b"pip sync" not in project.log.read_bytes()


def locked_versions() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split()[0].split("==") for line in lines if line[0] not in "# "]
    return {name: version for name, version in pins}


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        project["tool"]["uv"]["override-dependencies"],
    ]
    return [Requirement(text) for entries in lists for text in entries]


def test_lock_holds_every_declared_package_within_its_range() -> None:
    locked = locked_versions()
    outside = {
        str(entry): locked.get(canonicalize_name(entry.name))
        for entry in declared()
        if not entry.specifier.contains(locked.get(canonicalize_name(entry.name), "0"))
    }
    assert outside == {}


def test_lock_has_a_hash_for_every_package_and_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = [line for line in text.splitlines() if line[0] not in "# "]
    assert len(entries) > 100
    assert [line for line in entries if not line.endswith(" \\")] == []
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_overrides_and_ranges_of_a_package_agree() -> None:
    ranges: dict[str, set[str]] = {}
    for entry in declared():
        ranges.setdefault(canonicalize_name(entry.name), set()).add(str(entry.specifier))
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11), reason="the lock is not for here"
)
def test_what_is_installed_is_what_is_locked() -> None:
    installed = {name: metadata.version(name) for name in locked_versions()}
    assert installed == locked_versions()
