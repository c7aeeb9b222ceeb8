import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli import main

SMALL = ["--train", "20", "--eval", "10", "--test", "10"]


def test_synthetic_says_what_was_made_and_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "synthetic", "--output", str(tmp_path / "out"), *SMALL]
    assert main(command) == 0
    assert "made: 10 classes; images: train 20, eval 10, test 10" in capsys.readouterr().out
    assert main(command) == 0
    assert "is there already, unchanged" in capsys.readouterr().out


def test_a_bad_setting_or_source_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output", str(tmp_path / "out")]
    assert main(["data", "synthetic", *out, "--train", "3"]) == 2
    assert "train must be 10" in capsys.readouterr().err
    assert main(["data", "folder", *out, "--source", str(tmp_path / "none")]) == 2
    assert main(["data", "cifar10", *out, "--source", str(tmp_path / "none")]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/etc/passwd/out", "/proc/x/out"])
def test_an_output_that_cannot_be_made_ends_with_2(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "synthetic", "--output", place, *SMALL]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vitpipe: error: --output {place} cannot be made: ")
    assert len(error.splitlines()) == 1


def test_folder_lists_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index, name in enumerate(("a", "b", "c", "d")):
        (tmp_path / "in" / "only").mkdir(parents=True, exist_ok=True)
        pixel = bytes([80, 54, index])
        (tmp_path / "in" / "only" / f"{name}.png").write_bytes(pixel)
    command = ["data", "folder", "--source", str(tmp_path / "in"), "--output", str(tmp_path / "o")]
    assert main(command) == 2
    assert "only/c.png: not a PNG or JPEG (starts with 503602)" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 2
    assert "too few different images" in capsys.readouterr().err


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_bad_file_and_every_copy_is_listed_and_nothing_else_goes_to_stderr(
    tmp_path: Path,
) -> None:
    (tmp_path / "in" / "only").mkdir(parents=True)
    for index in range(30):
        (tmp_path / "in" / "only" / f"{index}.png").write_bytes(picture(index))
        (tmp_path / "in" / "only" / f"{index}-bad.png").write_bytes(picture(index)[:60])
        (tmp_path / "in" / "only" / f"{index}-copy.png").write_bytes(picture(index))
    command = ["data", "folder", "--source", str(tmp_path / "in"), "--output", str(tmp_path / "o")]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *command, "--skip-bad"],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = done.stderr.splitlines()
    assert lines[0] == "left out, 30 bad files:"
    assert all(": cannot be decoded: " in line for line in lines[1:31])
    assert {line.split(":")[0] for line in lines[1:31]} == {
        f"  only/{i}-bad.png" for i in range(30)
    }
    assert lines[31] == "copies, 30, each kept in one split:"
    assert sorted(lines[32:]) == sorted(
        f"  only/{i}.png: the same image as only/{i}-copy.png" for i in range(30)
    )
    assert "few images for training in: only (" in done.stdout


def test_parsing_and_reading_a_data_set_import_no_tensorflow(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "from pathlib import Path\n"
        f"main(['data', 'synthetic', '--output', sys.argv[1], {', '.join(map(repr, SMALL))}])\n"
        "from pipeline.data.dataset import read_dataset\n"
        "read_dataset(Path(sys.argv[1]))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "out")], check=True)
