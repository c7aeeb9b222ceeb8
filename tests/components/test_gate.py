"""The gate lets data pass, passes them on without the bad records, or stops the run."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import standard_artifacts

from components import contract, gate
from components.class_names import with_classes
from components.errors import DataError
from components.records import BadRecord
from tests.components.material import (
    CLASSES,
    MAX_PIXELS,
    example,
    good_records,
    read_ids,
    write_shard,
)

IMAGE_ANOMALY = gate.Anomaly(
    "train", "image", "Column dropped: the feature is missing in 1 example", True
)
BAD_IMAGE = BadRecord("train", 4, "cat-4", "image", "CMYK JPEG")
BAD_LABEL = BadRecord("eval", 7, "dog-7", "label", "12 is outside the domain 0 .. 9")


def test_good_data_pass() -> None:
    gate.judge([], [], 0)


@pytest.mark.parametrize(("bad", "allowed"), [(1, 1), (2, 2), (2, 5)])
def test_as_many_bad_records_as_allowed_pass(bad: int, allowed: int) -> None:
    gate.judge([], [BAD_IMAGE, BAD_LABEL][:bad], allowed)


@pytest.mark.parametrize(("bad", "allowed"), [(1, 0), (2, 1), (2, 0)])
def test_one_more_than_allowed_is_refused(bad: int, allowed: int) -> None:
    with pytest.raises(DataError, match=f"{bad} bad in all, {allowed} allowed"):
        gate.judge([], [BAD_IMAGE, BAD_LABEL][:bad], allowed)


def test_the_refusal_says_which_records_why_and_what_to_do() -> None:
    with pytest.raises(DataError) as caught:
        gate.judge([IMAGE_ANOMALY], [BAD_LABEL], 0)
    lines = str(caught.value).splitlines()
    assert lines == [
        "the data were refused before Transform",
        "split train, feature image: Column dropped: the feature is missing in 1 example",
        "split eval, feature label: 1 bad record",
        "1 bad in all, 0 allowed; mend them, or allow them to be dropped with --max-bad-records 1",
        "  eval, record dog-7, label: 12 is outside the domain 0 .. 9",
    ]


def test_many_bad_records_are_counted_and_some_named() -> None:
    bad = [BadRecord("train", n, f"n-{n}", "image", "CMYK JPEG") for n in range(1000)]
    with pytest.raises(DataError) as caught:
        gate.judge([], bad, 10)
    text = str(caught.value)
    assert "split train, feature image: 1000 bad records" in text
    assert "n-0," in text
    assert "n-999," not in text
    assert "--max-bad-records 1000" in text
    assert len(text.splitlines()) < 30


def test_an_anomaly_that_goes_with_the_dropped_records_is_excused() -> None:
    gate.judge([IMAGE_ANOMALY], [BAD_IMAGE], 1)


@pytest.mark.parametrize(
    "anomaly",
    [
        gate.Anomaly("eval", "image", "of another split", True),
        gate.Anomaly("train", "label", "of another feature", True),
        gate.Anomaly("train", "the whole split", "of none", False),
        gate.Anomaly("train", "image", "drift, which no record is the cause of", False),
    ],
)
def test_any_other_anomaly_is_refused_however_many_records_may_go(anomaly: gate.Anomaly) -> None:
    split, feature, reason, _ = anomaly
    with pytest.raises(DataError, match=f"split {split}, feature {feature}: {reason}") as caught:
        gate.judge([anomaly, IMAGE_ANOMALY], [BAD_IMAGE], 100)
    assert "cat-4" not in str(caught.value), "what may be dropped is not the reason"


def write_anomalies(folder: Path, split: str, message: anomalies_pb2.Anomalies) -> None:
    target = folder / f"Split-{split}"
    target.mkdir(parents=True, exist_ok=True)
    (target / "SchemaDiff.pb").write_bytes(message.SerializeToString())


def test_anomalies_are_read_for_every_split(tmp_path: Path) -> None:
    for split in contract.SPLITS:
        write_anomalies(tmp_path, split, anomalies_pb2.Anomalies())
    assert gate.read_anomalies(str(tmp_path)) == []
    text = """
        anomaly_info { key: "label" value {
            short_description: "S" description: "D"
            reason { type: ENUM_TYPE_UNEXPECTED_STRING_VALUES }
        } }
        anomaly_info { key: "mean" value {
            short_description: "S" description: "D" reason { type: COMPARATOR_L_INFTY_HIGH }
        } }
        dataset_anomaly_info { description: "no examples" }"""
    found = text_format.Parse(text, anomalies_pb2.Anomalies())
    write_anomalies(tmp_path, "test", found)
    assert gate.read_anomalies(str(tmp_path)) == [
        ("test", "label", "S: D", True),
        ("test", "mean", "S: D", False),
        ("test", "the whole split", "no examples", False),
    ]


class Data:
    """Artifacts around the gate, as the stages before it leave them."""

    def __init__(self, root: Path, bad: Sequence[bytes] = ()) -> None:
        self.examples = standard_artifacts.Examples()
        self.examples.uri = str(root / "examples")
        self.examples.split_names = json.dumps(list(contract.SPLITS))
        self.examples.span = 3
        self.examples.set_string_custom_property("file_format", "tfrecords_gzip")
        self.examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        self.anomalies = standard_artifacts.ExampleAnomalies()
        self.anomalies.uri = str(root / "anomalies")
        self.schema = standard_artifacts.Schema()
        self.schema.uri = str(root / "schema")
        self.validated = standard_artifacts.Examples()
        self.validated.uri = str(root / "validated")
        for number, split in enumerate(contract.SPLITS):
            write_anomalies(root / "anomalies", split, anomalies_pb2.Anomalies())
            folder = root / f"examples/Split-{split}"
            write_shard(folder / "data-0.gz", good_records(3, 10 * number))
            write_shard(folder / "data-1.gz", good_records(2, 10 * number + 5))
        if bad:
            shard = [*good_records(1, 50), *bad, *good_records(1, 60)]
            write_shard(root / "examples/Split-train/data-1.gz", shard)
        Path(self.schema.uri).mkdir()
        reviewed = (Path(gate.__file__).parent / "schema.pbtxt").read_text()
        (root / "schema/schema.pbtxt").write_text(with_classes(reviewed, CLASSES))
        os.makedirs(self.validated.uri)

    def pass_gate(self, max_bad_records: int) -> None:
        gate.ValidationGate.EXECUTOR_SPEC.executor_class().Do(
            {"examples": [self.examples], "anomalies": [self.anomalies], "schema": [self.schema]},
            {"validated": [self.validated]},
            {
                "max_bad_records": max_bad_records,
                "max_pixels": MAX_PIXELS,
                "source_digest": "",
            },
        )

    def shard(self, artifact: standard_artifacts.Examples, split: str, number: int) -> Path:
        return Path(artifact.uri, f"Split-{split}", f"data-{number}.gz")


BAD = [example("gif", b"GIF89a", 1), example("far", b"\x89PNG", 99)]


def test_good_shards_are_linked_not_rewritten(tmp_path: Path) -> None:
    data = Data(tmp_path)
    data.pass_gate(0)
    for split in contract.SPLITS:
        for number in (0, 1):
            source = data.shard(data.examples, split, number)
            assert source.samefile(data.shard(data.validated, split, number))
    assert json.loads(Path(data.validated.uri, gate.DROPPED_FILE).read_text()) == []


def test_exactly_the_bad_records_are_dropped_and_reported(tmp_path: Path) -> None:
    data = Data(tmp_path, BAD)
    before = data.shard(data.examples, "train", 1).read_bytes()
    data.pass_gate(2)
    kept = [read_ids(data.shard(data.validated, "train", number)) for number in (0, 1)]
    assert kept == [["id-0", "id-1", "id-2"], ["id-50", "id-60"]]
    assert data.shard(data.examples, "train", 1).read_bytes() == before
    other = data.shard(data.validated, "eval", 0)
    assert other.samefile(data.shard(data.examples, "eval", 0)), "its split has none"
    dropped = json.loads(Path(data.validated.uri, gate.DROPPED_FILE).read_text())
    assert [(row["split"], row["id"]) for row in dropped] == [("train", "gif"), ("train", "far")]
    assert dropped[0]["reason"].startswith("image: not a PNG or JPEG")
    assert dropped[1]["reason"] == "label: 99 is outside the domain 0 .. 6"


def test_what_is_passed_on_is_described_as_what_came(tmp_path: Path) -> None:
    data = Data(tmp_path)
    data.pass_gate(0)
    assert json.loads(data.validated.split_names) == list(contract.SPLITS)
    assert data.validated.span == 3
    for key in ("file_format", "payload_format"):
        value = data.validated.get_string_custom_property(key)
        assert value == data.examples.get_string_custom_property(key) != ""


def test_a_refusal_passes_nothing_on(tmp_path: Path) -> None:
    data = Data(tmp_path, BAD)
    with pytest.raises(DataError, match="train, record gif, image"):
        data.pass_gate(1)
    assert list(Path(data.validated.uri).iterdir()) == []


def test_every_bad_record_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = [example(f"gif-{number}", b"GIF89a", 1) for number in range(25)]
    with pytest.raises(DataError, match="and 5 more, each a line 'bad record:' in the log"):
        Data(tmp_path, bad).pass_gate(0)
    found = [line for line in caplog.messages if line.startswith("bad record: train, record gif-")]
    assert len(found) == 25


@pytest.mark.parametrize("left", ["none", "bad ones alone"])
def test_a_split_without_records_is_refused(tmp_path: Path, left: str) -> None:
    data = Data(tmp_path)
    data.shard(data.examples, "eval", 0).unlink()
    write_shard(data.shard(data.examples, "eval", 1), [] if left == "none" else BAD)
    reason = "got none" if left == "none" else "got 2, all of them bad"
    with pytest.raises(DataError, match=f"split eval: expected records, {reason}"):
        data.pass_gate(2)
    assert list(Path(data.validated.uri).iterdir()) == []
