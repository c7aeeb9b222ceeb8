"""TFRecord files of `tf.train.Example`, written and read without TensorFlow.

Its import would take longer than preparing a small data set. Format: a record is its
length (uint64), the masked CRC-32C of these 8 bytes, the data, the masked CRC-32C of the
data, all little endian; an Example is a protocol buffer of three features here.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c

from components.contract import ID, IMAGE, LABEL
from components.errors import DataError
from pipeline.data.wire import length_delimited, varint

_GZIP = b"\x1f\x8b"
_HEAD = struct.Struct("<QI")
_CRC = struct.Struct("<I")
# A protocol buffer cannot be larger.
_LARGEST_RECORD = 2**31 - 1
_BYTES_LIST, _INT64_LIST = 1, 3


class Record(NamedTuple):
    """One example before it is written."""

    id: str
    image: bytes
    label: int


def frame(record: Record) -> bytes:
    """The record as it stands in an uncompressed TFRecord file."""
    data = _encode_example(record)
    length = struct.pack("<Q", len(data))
    return b"".join((length, _CRC.pack(_masked_crc(length)), data, _CRC.pack(_masked_crc(data))))


def is_gzip(path: Path) -> bool:
    """Whether the content is compressed; names say nothing reliable."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def read_frames(path: Path) -> Iterator[bytes]:
    """The data of each record, checked.

    Raises:
        DataError: for a damaged file, with the place in its uncompressed content.
    """
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP
        raw.seek(0)
        file = io.BufferedReader(gzip.GzipFile(fileobj=raw), 2**18) if compressed else raw
        offset = 0
        while True:
            try:
                data = _read_frame(file)
            except (EOFError, OSError, zlib.error, ValueError) as error:
                raise DataError(
                    f"{path.parent.name}/{path.name} is damaged or no TFRecord file: {error} "
                    f"at byte {offset} of its {'unzipped ' if compressed else ''}content"
                ) from error
            if data is None:
                return
            yield data
            offset += len(data) + _HEAD.size + _CRC.size


def _read_frame(file: BinaryIO) -> bytes | None:
    head = file.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise ValueError("a record that is cut off")
    length, length_crc = _HEAD.unpack(head)
    if _masked_crc(head[:8]) != length_crc or length > _LARGEST_RECORD:
        raise ValueError("a record length with a wrong checksum")
    body = file.read(length + _CRC.size)
    if len(body) < length + _CRC.size:
        raise ValueError("a record that is cut off")
    data = body[:length]
    if _masked_crc(data) != _CRC.unpack_from(body, length)[0]:
        raise ValueError("a record with a wrong checksum")
    return data


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _encode_example(record: Record) -> bytes:
    label = varint(record.label)
    features = (
        _feature(ID, _BYTES_LIST, record.id.encode())
        + _feature(IMAGE, _BYTES_LIST, record.image)
        + _feature(LABEL, _INT64_LIST, label)
    )
    return length_delimited(1, features)


def _feature(name: str, kind: int, value: bytes) -> bytes:
    """One entry of the map of features: key 1, value 2; its list holds one value."""
    feature = length_delimited(kind, length_delimited(1, value))
    return length_delimited(1, length_delimited(1, name.encode()) + length_delimited(2, feature))
