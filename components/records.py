"""Reading the records of an Examples artifact, and telling which of them are bad."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

from components import contract, image_problems, tfrecords

_BATCH = 512
# A batch of photographs holds fewer: what is made of a batch takes several times its bytes.
_BATCH_BYTES = 2**25
_FEW = 16
_KINDS = {contract.ID: "bytes", contract.IMAGE: "bytes", contract.LABEL: "int64"}


@dataclass(frozen=True)
class BadRecord:
    """A record that no stage after the gate may see, and why."""

    split: str
    position: int
    id: str
    feature: str
    reason: str

    def __str__(self) -> str:
        return f"{self.split}, record {self.id}, {self.feature}: {self.reason}"


def read_shards(paths: Sequence[str], batch: int = _BATCH) -> Iterator[list[bytes]]:
    """Serialized examples of GZIP TFRecord files, in order, in lists.

    A list has `batch` of them, or fewer where these have 32 MiB together; the last has the rest.
    """
    waiting: list[bytes] = []
    size = 0
    for few in tfrecords.serialized(paths).batch(min(_FEW, batch)).as_numpy_iterator():
        waiting += few.tolist()
        size += sum(map(len, few))
        if len(waiting) >= batch or size >= _BATCH_BYTES:
            yield waiting[:batch]
            waiting = waiting[batch:]
            size = sum(map(len, waiting))
    if waiting:
        yield waiting


def find_bad_records(
    split: str, paths: Sequence[str], num_classes: int, max_pixels: int
) -> Iterator[BadRecord]:
    """Holds every record against the contract and decodes its image.

    Args:
        split: name that the findings carry.
        paths: GZIP TFRecord files.
        num_classes: labels are 0 .. num_classes - 1.
        max_pixels: largest width x height of an image.

    Yields:
        One finding a bad record (its first), in the order of the records; `position`
        counts over all `paths`.
    """
    start = 0
    for records in read_shards(paths):
        examples = [tf.train.Example.FromString(record) for record in records]
        findings = [_field_problem(example, num_classes) for example in examples]
        whole = [index for index, finding in enumerate(findings) if finding is None]
        encoded = [tfrecords.encoded_image(examples[index]) for index in whole]
        problems = image_problems.find_problems(encoded, max_pixels)
        for index, problem in zip(whole, problems, strict=True):
            findings[index] = (contract.IMAGE, problem) if problem else None
        for index, finding in enumerate(findings):
            if finding:
                name = record_id(examples[index], start + index)
                yield BadRecord(split, start + index, name, *finding)
        start += len(records)


def record_id(example: tf.train.Example, position: int) -> str:
    """The id as text, or the position where a record has none."""
    values = example.features.feature[contract.ID].bytes_list.value
    return values[0].decode("utf-8", "backslashreplace") if values else f"#{position}"


def _field_problem(example: tf.train.Example, num_classes: int) -> tuple[str, str] | None:
    """The first feature that breaks the contract, with the reason."""
    features = example.features.feature
    for name, kind in _KINDS.items():
        if name not in features:
            return name, "missing"
        values = getattr(features[name], f"{kind}_list").value
        if len(values) != 1:
            found = features[name].WhichOneof("kind") or "nothing"
            return name, f"expected one {kind} value, got {len(values)} (the record has {found})"
    label = features[contract.LABEL].int64_list.value[0]
    if not 0 <= label < num_classes:
        return contract.LABEL, f"{label} is outside the domain 0 .. {num_classes - 1}"
    return None
