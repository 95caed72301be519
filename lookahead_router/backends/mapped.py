"""A graph whose weights stay in its file, which ONNX Runtime then maps: read as they are needed, and shared by all
processes of a machine. Opened by its path, it is copied twice.

ONNX stores weights within the graph, or in other files that tensors name with an offset. Nothing forbids that the other
file is a graph, so a copy of the graph without the weights is made in memory, whose tensors name the file itself. Of
protobuf this needs two things: fields have a number and a length, and those that are not looked at stay as they are.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

_GRAPH, _INITIALIZER, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 7, 5, 9, 13, 14
"""Fields of ModelProto, GraphProto and TensorProto (onnx.proto)."""
_KEY, _VALUE = 1, 2
_EXTERNAL = 1
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_LEAST_BYTES = 4096
"""Smaller tensors stay within the graph."""


def without_weights(path: Path) -> bytes:
    """The graph of a file, which finds its larger tensors there.

    Raises:
        OSError: it cannot be read.
        ValueError: not protobuf.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
    ):
        return b"".join(_model(content, path.name))


def _model(content: memoryview, name: str) -> Iterator[bytes]:
    for number, start, value, end in _fields(content, 0, len(content)):
        if number == _GRAPH:
            yield _field(_GRAPH, b"".join(_graph(content, value, end, name)))
        else:
            yield bytes(content[start:end])


def _graph(content: memoryview, at: int, until: int, name: str) -> Iterator[bytes]:
    for number, start, value, end in _fields(content, at, until):
        if number == _INITIALIZER:
            yield _field(_INITIALIZER, b"".join(_tensor(content, value, end, name)))
        else:
            yield bytes(content[start:end])


def _tensor(content: memoryview, at: int, until: int, name: str) -> Iterator[bytes]:
    for number, start, value, end in _fields(content, at, until):
        if number == _RAW_DATA and end - value >= _LEAST_BYTES:
            for key, text in (("location", name), ("offset", str(value)), ("length", str(end - value))):
                yield _field(_EXTERNAL_DATA, _field(_KEY, key.encode()) + _field(_VALUE, text.encode()))
            yield _varint(_DATA_LOCATION << 3 | _VARINT) + _varint(_EXTERNAL)
        else:
            yield bytes(content[start:end])


def _fields(content: memoryview, at: int, until: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, start, start of the value, and end of every field of a message."""
    while at < until:
        start = at
        tag, at = _read_varint(content, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _read_varint(content, at)
        elif kind == _VARINT:
            length = _read_varint(content, at)[1] - at
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"no field begins at byte {start}")
        if at + length > until:
            raise ValueError(f"the field at byte {start} is cut off")
        yield tag >> 3, start, at, at + length
        at += length


def _read_varint(content: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, least first, and where it ends."""
    number = shift = 0
    while True:
        if at >= len(content):
            raise ValueError("cut off within a number")
        byte = content[at]
        number, shift, at = number | (byte & 0x7F) << shift, shift + 7, at + 1
        if not byte & 0x80:
            return number, at


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value
