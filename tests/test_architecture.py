"""The rules of CONTRIBUTING.md that a program can check."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# Each room with the rooms that it may import.
ROOMS = {
    "models": {"models"},
    "components": {"models", "components"},
    "pipeline": {"models", "components", "pipeline"},
}
TOP_LEVEL = {
    *ROOMS,
    "tests",
    "kubeflow",
    "pyproject.toml",
    "requirements.lock",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
}
# In two pieces, so that this file does not name them either.
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "npmjs" + ".org",
    "crates" + ".io",
    "golang" + ".org",
    "maven" + ".org",
    "debian" + ".org",
    "anaconda" + ".org",
]
HEAVY = {"tensorflow", "tfx", "keras", "apache_beam", "ml_metadata", "matplotlib", "kfp"}
# Declared, but for another reason than an import in the rooms.
NOT_IMPORTED = {
    "grpcio": "the client of the served model speaks it",
    "kfp": "TFX compiles for Kubeflow Pipelines with it",
}
LIMIT_LINES = 300
LIMIT_ARGUMENTS = 6


def project_files() -> list[Path]:
    """Every file that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def sources(*folders: str) -> list[Path]:
    """Every Python file of some top-level folders."""
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    assert found, f"no Python file in {folders}"
    return found


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, absolutely, at any depth."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = node.module or ""
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_one_way(room: str) -> None:
    ours = {*ROOMS, "tests", "kubeflow"}
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in sources(room)
        for line, name in imports(path)
        if name.split(".")[0] in ours - ROOMS[room]
    ]
    assert not wrong


def test_models_know_neither_tensorflow_nor_tfx() -> None:
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in sources("models")
        for line, name in imports(path)
        if name.split(".")[0] in {"tensorflow", "tfx", "jax", "torch"}
    ]
    assert not wrong


def test_imports_are_absolute() -> None:
    wrong = [
        where(path, node.lineno)
        for path in sources(*ROOMS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong


def test_kubeflow_is_no_python_package() -> None:
    # A package of that name is on the index; ours would hide it.
    assert not list((ROOT / "kubeflow").rglob("__init__.py"))


def test_top_level_holds_only_the_rooms_and_the_named_files() -> None:
    names = {path.relative_to(ROOT).parts[0] for path in project_files()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources(*ROOMS)}
    assert {where(path, n): n for path, n in lengths.items() if n > LIMIT_LINES} == {}


def is_tfx_component(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether TFX calls it, by name: its parameters are then the artifacts of a node."""
    calls = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
    return any(ast.unparse(call).split(".")[-1] == "component" for call in calls)


def test_functions_take_few_arguments() -> None:
    wrong = []
    for path in sources(*ROOMS):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [argument.arg for argument in node.args.posonlyargs + node.args.args]
                count = len([name for name in arguments if name not in ("self", "cls")])
                if count > LIMIT_ARGUMENTS and not is_tfx_component(node):
                    wrong.append(f"{where(path, node.lineno)} {node.name}: {count}")
    assert not wrong


def test_keras_is_never_reached_through_tensorflow() -> None:
    # tf.keras is Keras 2 or Keras 3, depending on who imported what first.
    wrong = [
        where(path, line)
        for path in sources(*ROOMS, "tests")
        for line, name in imports(path)
        if re.match(r"(tensorflow\.keras|tf_keras)\b", name)
    ] + [
        where(path, node.lineno)
        for path in sources(*ROOMS, "tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("tf.keras", "tensorflow.keras", "tf.compat.v1.keras")
    ]
    assert not wrong


def test_input_is_checked_by_raise() -> None:
    wrong = [
        where(path, node.lineno)
        for path in sources(*ROOMS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
    ]
    assert not wrong


def test_no_exception_is_swallowed() -> None:
    wrong = []
    for path in sources(*ROOMS, "tests"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else ""
                silent = all(isinstance(step, ast.Pass) for step in node.body)
                if not caught or (silent and caught in ("Exception", "BaseException")):
                    wrong.append(where(path, node.lineno))
    assert not wrong


def test_no_file_names_the_host_of_a_package_registry() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} names {host}"
        for path in project_files()
        for host in REGISTRIES
        if host.encode() in path.read_bytes()
    ]
    assert not wrong


def declared(*extras: str) -> set[str]:
    """Names of the distributions that pyproject.toml declares, for its extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    return {canonicalize_name(Requirement(entry).name) for group in lists for entry in group}


def imported_distributions() -> dict[str, set[str]]:
    """Every third-party distribution that the rooms import, with the places."""
    providers = importlib.metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for path in sources(*ROOMS):
        for line, name in imports(path):
            top = name.split(".")[0]
            if top in ROOMS or top in sys.stdlib_module_names:
                continue
            # `google` is shared by many; the rooms need only its protobuf.
            owners = ["protobuf"] if name.startswith("google.protobuf") else providers.get(top, [])
            owner = min(owners, key=lambda each: (canonicalize_name(each) not in ALL, len(each)))
            found.setdefault(canonicalize_name(owner), set()).add(where(path, line))
    return found


ALL = declared("pipeline")


def test_every_import_is_declared() -> None:
    used = imported_distributions()
    assert {name: places for name, places in used.items() if name not in ALL} == {}


def test_every_dependency_is_used() -> None:
    assert ALL - set(imported_distributions()) - set(NOT_IMPORTED) == set()


COMMANDS = sorted(
    path.stem for path in (ROOT / "pipeline/commands").glob("*.py") if path.stem != "__init__"
)


def heavy_imports_of(statement: str) -> set[str]:
    """What of HEAVY a fresh Python holds after a statement."""
    program = f"import contextlib, sys\n{statement}\nprint('\\nmodules', *sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split()[1:]) & HEAVY


def test_help_imports_nothing_heavy() -> None:
    statement = "import pipeline.cli\nwith contextlib.suppress(SystemExit): pipeline.cli.main({})"
    assert heavy_imports_of(statement.format(["--help"])) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_command_module_imports_nothing_heavy(command: str) -> None:
    assert heavy_imports_of(f"import pipeline.commands.{command}") == set()
