"""`vitpipe model`: the list of variants, and the summary of one."""

import json
from typing import Any

import pytest

from models.variants import SOURCES, VARIANTS
from pipeline import cli


@pytest.fixture
def vitpipe(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command that succeeds; returns what it prints."""

    def call(*words: str) -> str:
        assert cli.main(["model", *words]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return call


def test_list_has_a_line_for_every_variant(vitpipe: Any) -> None:
    heading, titles, *lines = vitpipe("list").splitlines()
    assert heading == "Weights and multiply-adds with 10 classes, for one image:"
    assert titles.split()[:3] == ["VARIANT", "IMAGE", "PATCH"]
    assert [line.split()[0] for line in lines] == list(VARIANTS)
    assert all(line.endswith(SOURCES[line.split()[0]]) for line in lines)


def test_line_of_the_list_gives_sizes_and_counts(vitpipe: Any) -> None:
    line = next(line for line in vitpipe("list").splitlines() if line.startswith("vit_cifar"))
    assert line.split()[1:8] == ["72", "6", "64", "8", "4", "284,874", "60,536,448"]


def test_list_as_json_gives_the_same(vitpipe: Any) -> None:
    records = json.loads(vitpipe("list", "--json"))
    assert [record["name"] for record in records] == list(VARIANTS)
    assert records[1] == {
        "name": "vit_cifar",
        "image_size": 72,
        "patch_size": 6,
        "width": 64,
        "depth": 8,
        "heads": 4,
        "classes": 10,
        "weights": 284_874,
        "multiply_adds": 60_536_448,
        "source": SOURCES["vit_cifar"],
    }


def test_summary_of_vit_b16_agrees_with_the_profiler(vitpipe: Any) -> None:
    options = ("--classes", "1000", "--batch", "8", "--json")
    record = json.loads(vitpipe("summary", "vit_b16", *options))
    assert record["weights"] == 86_540_008
    # What TensorFlow's profiler gives for the same architecture.
    assert record["flops"] == pytest.approx(281_912_958_968, rel=0.01)
    assert (record["name"], record["classes"], record["batch"]) == ("vit_b16", 1000, 8)
    assert record["multiply_adds"] == 8 * 17_563_828_224


def test_summary_defaults_to_ten_classes_and_one_image(vitpipe: Any) -> None:
    record = json.loads(vitpipe("summary", "vit_cifar", "--json"))
    assert (record["classes"], record["batch"], record["weights"]) == (10, 1, 284_874)


def test_layers_of_the_summary_add_up(vitpipe: Any) -> None:
    record = json.loads(vitpipe("summary", "vit_demo", "--batch", "3", "--json"))
    layers = record["layers"]
    for amount in ("weights", "multiply_adds", "flops"):
        assert sum(layer[amount] for layer in layers) == record[amount]
    names = ["stem", "embedding", "block_0", "block_1", "final_norm", "pooling", "head"]
    assert [layer["name"] for layer in layers] == names
    shapes = [[3, 64, 64]] * 5 + [[3, 64], [3, 10]]
    assert [layer["output_shape"] for layer in layers] == shapes


def test_summary_for_people_shows_shapes_and_totals(vitpipe: Any) -> None:
    lines = vitpipe("summary", "vit_b16", "--classes", "1000", "--batch", "8").splitlines()
    assert lines[0] == "vit_b16 with 1,000 classes, forward pass of 8 images:"
    assert lines[1].split() == ["LAYER", "OUTPUT", "WEIGHTS", "MULTIPLY-ADDS", "FLOPS"]
    assert lines[2].startswith("stem        8 x 196 x 768     590,592")
    assert lines[-1].split()[-3:] == ["86,540,008", "140,510,625,792", "282,084,788,672"]
    assert len(lines) == 2 + 17 + 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit_b61"], "no variant is called 'vit_b61' (did you mean 'vit_b16'?); known are vit_b"),
        (["vit_tiny", "--classes", "1"], "--classes: expected at least 2, got 1"),
        (["vit_tiny", "--batch", "0"], "--batch: expected at least 1, got 0"),
        (["vit_tiny", "--batch", "-3"], "--batch: expected at least 1, got -3"),
    ],
)
def test_what_cannot_be_counted_is_bad_usage(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["model", "summary", *words, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"vitpipe: error: {message}")
    assert captured.out == ""


@pytest.mark.parametrize("option", ["--classes", "--batch"])
def test_what_is_no_number_is_bad_usage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["model", "summary", "vit_tiny", option, "many"])
    assert caught.value.code == 2
    assert f"argument {option}: invalid int value: 'many'" in capsys.readouterr().err
