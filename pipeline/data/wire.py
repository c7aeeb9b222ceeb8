"""The little of the protocol buffer encoding that a `tf.train.Example` needs.

See "Encoding" in the documentation of Protocol Buffers.
"""

from collections.abc import Iterator

_VARINT, _FIXED_64, _DELIMITED, _FIXED_32 = 0, 1, 2, 5
_LARGEST_VARINT = 10


def varint(value: int) -> bytes:
    """An integer of -2**63 .. 2**64 - 1."""
    value &= 2**64 - 1
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def length_delimited(number: int, value: bytes) -> bytes:
    """A field that holds bytes, a string, a message or a packed list."""
    return varint(number << 3 | _DELIMITED) + varint(len(value)) + value


def int64_feature(example: bytes, name: bytes) -> list[int] | None:
    """The values of an int64 feature of a serialized Example, None without that feature.

    Raises:
        ValueError: for bytes that are no Example.
    """
    found = None
    for start, end in _messages(example, 1, 0, len(example)):
        for entry_start, entry_end in _messages(example, 1, start, end):
            keys = list(_messages(example, 1, entry_start, entry_end))
            if keys and example[slice(*keys[-1])] == name:
                # In a map the last entry of a key counts.
                found = _int64_list(example, entry_start, entry_end)
    return found


def _int64_list(data: bytes, start: int, end: int) -> list[int]:
    values: list[int] = []
    for feature in _messages(data, 2, start, end):
        for int64_list in _messages(data, 3, *feature):
            for number, kind, first, last in _fields(data, *int64_list):
                if number == 1:
                    values += _packed(data, first, last) if kind == _DELIMITED else [first]
    return [value - 2**64 if value >= 2**63 else value for value in values]


def _packed(data: bytes, position: int, end: int) -> Iterator[int]:
    while position < end:
        value, position = _read_varint(data, position, end)
        yield value


def _messages(data: bytes, number: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    for found, kind, first, last in _fields(data, start, end):
        if found == number and kind == _DELIMITED:
            yield first, last


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number and kind of each field, and where its value stands; a varint's value itself."""
    while position < end:
        tag, position = _read_varint(data, position, end)
        kind = tag & 7
        first = position
        if kind == _VARINT:
            first, position = _read_varint(data, position, end)
        elif kind == _DELIMITED:
            size, first = _read_varint(data, position, end)
            position = first + size
        elif kind in (_FIXED_64, _FIXED_32):
            position += 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if position > end:
            raise ValueError("a field that reaches beyond the record")
        yield tag >> 3, kind, first, position


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LARGEST_VARINT):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value & 2**64 - 1, position
    raise ValueError("an integer that does not end")
