"""The digest of a stage changes with the modules it imports, and with nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components import digests

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of our rooms that a test may edit."""
    for room in digests.ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def digests_of(root: Path, *modules: str) -> list[str]:
    """Digests that the code under `root` gives, by a process that imports it."""
    program = (
        "import sys; from components import digests; "
        "assert digests.__file__.startswith(sys.argv[1]); "
        "print(*(digests.source_digest(name) for name in sys.argv[2:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(root), *modules],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# another line\n")


STAGES = ("components.training", "components.preprocessing", "components.gate")


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("components/training.py", (True, False, False)),
        ("components/images.py", (False, True, True)),
        ("components/contract.py", (True, True, True)),
        # Two imports away from the Trainer.
        ("models/layers.py", (True, False, False)),
        ("components/augment.py", (True, False, False)),
        ("components/records.py", (False, False, True)),
        ("components/pusher.py", (False, False, False)),
        # A package's own file runs when a module of it is imported.
        ("components/__init__.py", (True, True, True)),
    ],
)
def test_an_edit_changes_the_digests_of_the_stages_that_import_it(
    edited: str, changes: tuple[bool, ...], copy: Path
) -> None:
    before = digests_of(copy, *STAGES)
    edit(copy / edited)
    after = digests_of(copy, *STAGES)
    assert tuple(a != b for a, b in zip(after, before, strict=True)) == changes


def test_equal_code_has_equal_digests_wherever_it_lies(copy: Path) -> None:
    assert digests_of(copy, *STAGES) == [digests.source_digest(name) for name in STAGES]


def test_imports_inside_functions_and_of_modules_by_name_count(copy: Path) -> None:
    (copy / "components/one.py").write_text("def f():\n    from components import two\n")
    (copy / "components/two.py").write_text("import components.three\n")
    (copy / "components/three.py").write_text("from components.four import value\n")
    (copy / "components/four.py").write_text("from components import one\nvalue = 1\n")
    before = digests_of(copy, "components.one")
    for name in ("two", "three", "four"):
        edit(copy / f"components/{name}.py")
        after = digests_of(copy, "components.one")
        assert after != before
        before = after


def test_another_version_of_a_library_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests.source_digest("components.contract")
    versions = {name: "1.0" for name in digests._LIBRARIES}
    monkeypatch.setattr(digests.importlib.metadata, "version", versions.__getitem__)
    changed = digests.source_digest("components.contract")
    assert changed != before
    for name in digests._LIBRARIES:
        versions[name] = "1.1"
        again = digests.source_digest("components.contract")
        assert again != changed
        changed = again


def test_what_is_computed_at_training_is_in_the_trainers_digest() -> None:
    closure = digests._closure("components.training")
    assert {
        "components.training",
        "components.feeding",
        "components.augment",
        "components.export",
        "components.callbacks",
        "components.checkpoints",
        "models.vit",
        "models.blocks",
        "models.layers",
        "models.losses",
        "models.optim",
        "models.schedule",
    } <= closure
    assert not any(name.startswith("pipeline") for name in closure)


def test_the_program_that_the_serving_check_starts_is_in_its_digest() -> None:
    closure = digests._closure("components.serving_check")
    assert {"components.replay", "components.c_api"} <= closure


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ImportError, match=r"components\.nowhere"):
        digests.source_digest("components.nowhere")
