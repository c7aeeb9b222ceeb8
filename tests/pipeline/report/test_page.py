"""The report page shows the right numbers, trusts no text and loads nothing."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import Evidence, charts, write_report
from pipeline.report.matrix import matrix
from pipeline.report.verdict import Threshold

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>{{ 7*7 }}&amp;\x00\u202e"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += " " + data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture
def page(tmp_path: Path) -> Any:
    def make(run: dict[str, Any], found: Evidence) -> Page:
        write_report(tmp_path / "report.html", run, found)
        return Page(tmp_path / "report.html")

    return make


def test_a_pushed_run_shows_its_numbers(page: Any, made: Any) -> None:
    words = page(made.summary(), made.evidence()).words
    for text in (
        "BLESSED: pushed version 4", "81.23%", "98.71%", "0.6234", "baseline 98.46%",
        "/w/serving/vit/4", "7 m 21 s", "2026-11-22 19:03 UTC", "97.46%", "3 epochs in 30.0 s",
        "Epoch 2 was the best on split eval", "train 0.5000", "eval 1.2500", "eval 40.00%",
        "Serving check passed: 32 examples replayed", "2.4e-07", "airplane: 4,000",
        "truck: 4,009", "2.1 KB on average", "crop_flip", "3f" * 32,
        "None: the data passed the validation gate.",
    ):  # fmt: skip
        assert text in words, text


def test_a_refused_run_says_why_and_shows_no_path(page: Any, made: Any) -> None:
    words = page(made.refused(), made.evidence()).words
    assert "NOT BLESSED: nothing was pushed" in words
    assert "top_5_accuracy 0.9412 is below the required 0.95" in words
    assert "/w/serving" not in words


def test_a_failed_run_shows_reason_log_and_resume_command(page: Any, made: Any) -> None:
    words = page(made.failed(), Evidence()).words
    assert "FAILED in Trainer" in words
    assert "ResourceExhaustedError: out of memory while allocating a tensor" in words
    assert "resume with vitpipe run --preset demo --workdir /w" in words
    assert "The gate" not in words


@pytest.mark.parametrize("kind", ["empty", "summary", "refused", "failed"])
def test_a_report_without_evidence_renders(page: Any, kind: str, made: Any) -> None:
    run = {} if kind == "empty" else getattr(made, kind)()
    found = page(run, Evidence())
    assert "Confusion matrix" not in found.words
    assert "Training" not in found.words
    assert found.source.rstrip().endswith("</html>")


def test_a_summary_that_lacks_a_part_renders(page: Any, made: Any) -> None:
    for missing in made.summary():
        run = made.summary()
        del run[missing]
        assert page(run, made.evidence()).source.rstrip().endswith("</html>"), missing
        assert (
            page(made.summary(**{missing: None}), made.evidence())
            .source.rstrip()
            .endswith("</html>")
        )


def hostile_run(made: Any) -> tuple[dict[str, Any], Evidence]:
    names = [HOSTILE, "dog"]
    run = made.summary(
        names,
        run_id=HOSTILE,
        preset=HOSTILE,
        message=HOSTILE,
        status="failed",
        failed_component=HOSTILE,
        log=HOSTILE,
        resume_command=HOSTILE,
        started=HOSTILE,
        refusals=[HOSTILE],
        components=[{"name": HOSTILE, "state": HOSTILE, "seconds": 1.0}],
        config={HOSTILE: {HOSTILE: HOSTILE, "list": [HOSTILE]}},
        digests={HOSTILE: HOSTILE},
        machine={HOSTILE: HOSTILE},
    )
    run["thresholds"] |= {"note": HOSTILE, "split": HOSTILE}
    run["baseline"]["model"] = HOSTILE
    run["serving_check"]["message"] = HOSTILE
    run["data"]["dir"] = HOSTILE
    run["data"]["dropped"] = [{"split": HOSTILE, "id": HOSTILE, "reason": HOSTILE}]
    found = made.evidence(names)
    row = {key: HOSTILE for key in ("split", "feature", "type", "examples", "missing", "note")}
    samples = [{**sample, "id": HOSTILE} for sample in found.samples]
    anomalies = [{"split": HOSTILE, "feature": HOSTILE, "reason": HOSTILE}]
    return run, replace(found, samples=samples, statistics=[row], anomalies=anomalies)


def test_hostile_text_stays_text(page: Any, made: Any) -> None:
    found = page(*hostile_run(made))
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.words.count("<script>alert('x')</script>") > 20
    assert "{{ 7*7 }}" in found.words
    assert "\x00" not in found.source
    assert "\u202e" not in found.source


@pytest.mark.parametrize("size", [2, 10, 40])
def test_the_page_loads_nothing(page: Any, size: int, made: Any) -> None:
    names = [f"class {i}" for i in range(size)]
    found = page(made.summary(names), made.evidence(names))
    assert "://" not in found.source
    assert "url(" not in found.source
    assert "@import" not in found.source
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(found.tags)
    assert all(value.startswith("data:image/") for value in found.values("src"))
    assert not found.values("href")
    assert any("default-src 'none'" in value for value in found.values("content"))


def test_ten_classes_are_a_table_of_counts(page: Any, made: Any) -> None:
    found = page(made.summary(), made.evidence())
    titles = found.values("title")
    assert "cat taken for cat: 83" in titles
    assert "cat taken for deer: 10" in titles
    assert "truck taken for airplane: 16" in titles
    assert found.source.count('<td class="hit') == 10
    assert found.source.count('<td class="miss') == 90


def test_two_classes_are_a_table(page: Any, made: Any) -> None:
    found = page(made.summary(["cat", "dog"]), made.evidence(["cat", "dog"]))
    assert found.source.count('<td class="hit') == 2
    assert "dog taken for cat: 8" in found.values("title")


def test_many_classes_are_a_picture_and_the_worst_pairs(page: Any, made: Any) -> None:
    names = [f"kind {i}" for i in range(200)]
    found = page(made.summary(names), made.evidence(names))
    (picture,) = (v for v in found.values("src") if len(v) > 400)
    image = base64.b64decode(picture.partition("base64,")[2])
    assert image[16:24] == (200).to_bytes(4) * 2, "a pixel a cell"
    assert "kind 199 kind 0 206" in found.words
    assert "The other 185 classes" in found.words
    assert len(found.source) < 400_000


def test_classes_come_worst_first_with_only_the_columns_that_have_values(
    page: Any, made: Any
) -> None:
    rows = [
        {"name": "fine", "examples": 5, "top_1_accuracy": 0.9, "top_3_accuracy": 1.0},
        {"name": "poor", "examples": 7, "top_1_accuracy": 0.1, "top_3_accuracy": 0.5},
        {"name": "none", "examples": 0, "top_1_accuracy": None, "top_3_accuracy": None},
    ]
    words = page(made.summary(), Evidence(per_class=rows)).words
    expected = "class examples top-1 top-3 poor 7 10.0% 50.0% fine 5 90.0% 100.0% none 0 - -"
    assert expected in words


def test_samples_are_marked_right_and_wrong_the_wrong_ones_first(page: Any, made: Any) -> None:
    found = page(made.summary(), made.evidence())
    words = found.words[found.words.index("Samples") :]
    assert words.index("automobile ✗ wrong") < words.index("airplane ✓ right")
    assert len(found.values("src")) == 2


@pytest.mark.parametrize("image", [b"", b"GIF89a...", b"<svg onload=x>", None])
def test_only_small_png_and_jpeg_are_embedded(page: Any, image: bytes | None, made: Any) -> None:
    if image is None:
        image = made.png() + b"0" * 600_000
    sample = {"image": image, "id": "a", "label": "cat", "predictions": [("cat", 1.0)]}
    found = page(made.summary(), Evidence(samples=[sample]))
    assert found.values("src") == []
    assert "image not shown" in found.words


def test_anomalies_and_dropped_records_are_listed_and_long_lists_cut(page: Any, made: Any) -> None:
    run = made.summary()
    run["data"]["dropped"] = [
        {"split": "train", "id": f"train_{i}", "reason": "not decodable"} for i in range(130)
    ]
    anomalies = [{"split": "eval", "feature": "label", "reason": "12 is outside 0 .. 9"}]
    words = page(run, Evidence(anomalies=anomalies)).words
    assert "eval label 12 is outside 0 .. 9" in words
    assert "train_99 not decodable" in words
    assert "train_100" not in words
    assert "30 more are in summary.json" in words


def test_data_that_were_never_checked_are_not_called_sound(page: Any, made: Any) -> None:
    run = made.failed(failed_component="StatisticsGen", components=[])
    found = page(run, Evidence(statistics=made.evidence().statistics))
    assert "Statistics" in found.words
    assert "Anomalies" not in found.words


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, made: Any) -> None:
    names = [f"class {i}" for i in range(30)]
    for name in ("a", "b"):
        write_report(tmp_path / name, made.summary(names), made.evidence(names))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path, made: Any) -> None:
    path = tmp_path / "report.html"
    write_report(path, made.summary(), made.evidence())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="uneven rows"):
        write_report(path, made.summary(), Evidence(confusion=[[1, 2], [3]]))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_curves_have_gaps_where_the_loss_is_no_number() -> None:
    history = {"loss": [3.0, 2.0, float("nan"), 1.0, 0.5], "eval_loss": [float("inf")] * 5}
    (curve,) = charts.curves(history)
    (line,) = curve.lines
    assert len(line.stretches) == 2
    assert len(line.dots) == 4
    assert not re.search("nan|inf", repr((line.stretches, curve.y_ticks)))


@pytest.mark.parametrize("values", [[0.0], [0.5], [1.0, 1.0], [1e-9, 1e9], list(range(500))])
def test_any_length_and_range_of_values_is_drawn_inside_the_picture(values: list[float]) -> None:
    (curve,) = charts.curves({"eval_loss": values})
    for line in curve.lines:
        for dot in line.dots:
            assert charts.LEFT <= dot.x <= charts.RIGHT
            assert charts.TOP <= dot.y <= charts.BOTTOM
    assert len(curve.y_ticks) >= 2


def test_a_better_value_is_drawn_higher() -> None:
    (curve,) = charts.curves({"eval_top_5_accuracy": [0.5, 0.75, 1.0]})
    first, second, third = (dot.y for dot in curve.lines[0].dots)
    assert first > second > third
    assert [tick.text for tick in curve.x_ticks] == ["1", "2", "3"]
    assert curve.y_ticks[-1].text == "100%"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (0, 100, [0, 25, 50, 75, 100]), (5, 5, [4.5, 5, 5.5])],
)
def test_ticks_are_round_and_enclose_the_values(
    low: float, high: float, expected: list[float]
) -> None:
    ticks = charts.nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert all(any(abs(tick - value) < 1e-9 for tick in ticks) for value in expected)


def gate_x(measured: float, wanted: Threshold) -> dict[str, float]:
    return {row.name: row.x for row in charts.gate(measured, wanted).rows}


def test_the_gate_shows_the_stricter_of_threshold_and_baseline() -> None:
    wanted = Threshold("top_5_accuracy", required=0.95, baseline=0.99, max_regression=0.01)
    picture = charts.gate(0.97, wanted)
    x = {row.name: row.x for row in picture.rows}
    assert x["required"] < x["this model"] < picture.floor_x < x["baseline"]
    assert picture.rows[0].kind == "model miss"
    assert charts.gate(0.985, wanted).rows[0].kind == "model pass"


def test_a_threshold_that_nobody_can_reach_is_drawn_too() -> None:
    wanted = Threshold("top_5_accuracy", required=1.01, baseline=None, max_regression=0.0)
    x = gate_x(0.97, wanted)
    assert charts.GATE_LEFT <= x["this model"] < x["required"] <= charts.GATE_RIGHT


def test_a_class_without_examples_has_a_row_without_shade() -> None:
    found = matrix([[0, 0], [1, 9]], ["a"])
    assert found.names == ("a", "class 1")
    assert [cell.shade for cell in found.rows[0]] == [0.0, 0.0]
    assert [cell.shade for cell in found.rows[1]] == [0.85, 0.9]
    assert [(p.true, p.predicted, p.count, p.share) for p in found.pairs] == [
        ("class 1", "a", 1, 0.1)
    ]


def test_the_most_frequent_errors_come_first(made: Any) -> None:
    pairs = matrix(made.confusion(10), made.TEN).pairs
    assert [pair.count for pair in pairs] == sorted((7 + i for i in range(10)), reverse=True)
    assert (pairs[0].true, pairs[0].predicted) == ("truck", "airplane")
