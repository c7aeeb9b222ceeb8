"""Records that break the contract are found, with their ids and places."""

from pathlib import Path

import pytest

from components import records
from components.records import BadRecord, find_bad_records, read_shards
from components.tfrecords import shard_paths
from tests.components.material import (
    CLASSES,
    MAX_PIXELS,
    encode,
    example,
    good_records,
    random_pixels,
    write_shard,
)

PNG = encode(random_pixels(0, 8, 8))


def find(paths: list[str]) -> list[BadRecord]:
    return list(find_bad_records("train", paths, len(CLASSES), MAX_PIXELS))


def test_good_records_are_not_found(tmp_path: Path) -> None:
    others = [
        example("gray", encode(random_pixels(1), mode="L"), 0),
        example("jpeg", encode(random_pixels(1, 64, 64), "JPEG"), len(CLASSES) - 1),
        example("alpha", encode(random_pixels(1), mode="RGBA"), 6),
    ]
    assert find([write_shard(tmp_path / "s", [*good_records(5), *others])]) == []


@pytest.mark.parametrize(
    ("record", "feature", "reason"),
    [
        (example(None, PNG, 0), "id", "missing"),
        (example("x", None, 0), "image", "missing"),
        (example("x", PNG, None), "label", "missing"),
        (example("x", PNG, [1, 2]), "label", "expected one int64 value, got 2"),
        (example("x", PNG, []), "label", "expected one int64 value, got 0"),
        (example("x", PNG, b"1"), "label", "got 0 (the record has bytes_list)"),
        (example("x", PNG, -1), "label", "-1 is outside the domain 0 .. 6"),
        (example("x", PNG, len(CLASSES)), "label", "7 is outside the domain 0 .. 6"),
        (example("x", PNG[:60], 0), "image", "cannot be decoded"),
        (example("x", encode(random_pixels(0), "GIF"), 0), "image", "not a PNG or JPEG"),
        (example("x", encode(random_pixels(0), "JPEG", "CMYK"), 0), "image", "CMYK"),
        (
            example("x", encode(random_pixels(0, 65, 64)), 0),
            "image",
            "64 x 65 pixels, more than the 4096 allowed",
        ),
        (example("x", b"", 0), "image", "no bytes"),
        (b"", "id", "missing"),
    ],
)
def test_each_breach_is_found_with_its_reason(
    record: bytes, feature: str, reason: str, tmp_path: Path
) -> None:
    before, after = good_records(2), good_records(1, first=9)
    (found,) = find([write_shard(tmp_path / "s", [*before, record, *after])])
    assert (found.split, found.position, found.feature) == ("train", 2, feature)
    assert reason in found.reason
    assert found.id == ("#2" if feature == "id" else "x")
    assert "\n" not in str(found)


def test_places_count_over_all_shards_and_batches(tmp_path: Path) -> None:
    good = good_records(1)
    bad = [example(f"bad-{number}", b"", 0) for number in range(4)]
    sizes = [records._BATCH - 1, 3, records._BATCH + 40]
    shards = [good * size for size in sizes]
    shards[0][0], shards[0][-1] = bad[0], bad[1]
    shards[1][2] = bad[2]
    shards[2][-1] = bad[3]
    paths = [write_shard(tmp_path / f"s-{number}", shard) for number, shard in enumerate(shards)]
    last = sum(sizes) - 1
    places = [(found.position, found.id) for found in find(paths)]
    assert places == [
        (0, "bad-0"),
        (sizes[0] - 1, "bad-1"),
        (sizes[0] + 2, "bad-2"),
        (last, "bad-3"),
    ]


def test_an_id_that_is_no_text_is_still_shown(tmp_path: Path) -> None:
    record = example("x", b"", 0).replace(b"\x01x", b"\x01\xff")
    (found,) = find([write_shard(tmp_path / "s", [record])])
    assert found.id == "\\xff"


def test_a_finding_reads_as_one_line() -> None:
    found = BadRecord("eval", 3, "cat-7", "image", "CMYK JPEG")
    assert str(found) == "eval, record cat-7, image: CMYK JPEG"


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, first in (("b", 2), ("a", 0)):
        write_shard(tmp_path / name, good_records(2, first))
    paths = shard_paths(str(tmp_path))
    assert [Path(path).name for path in paths] == ["a", "b"]
    batches = list(read_shards(paths, batch=3))
    assert [len(batch) for batch in batches] == [3, 1]
    assert [record for batch in batches for record in batch] == good_records(4)


def test_large_records_come_in_smaller_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_shard(tmp_path / "s", good_records(50))]
    monkeypatch.setattr(records, "_BATCH_BYTES", 1)
    lists = list(read_shards(paths, batch=40))
    assert [len(part) for part in lists] == [16, 16, 16, 2]
    assert [record for part in lists for record in part] == good_records(50)
