"""Columns of numbers → protobuf bytes, all rows at once: each row a fixed-width piece.

A varint may be padded to a fixed number of bytes (continuation bits with zeros behind), so that
every row of a message has the same length and numpy can write a whole column at a time.
Source: protobuf encoding, https://protobuf.dev/programming-guides/encoding.
"""

import numpy as np

VARINT, FIXED64, LENGTH = 0, 1, 2


def varint(value: int) -> bytes:
    """Shortest varint of a number >= 0."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def width(values: np.ndarray) -> int:
    """Bytes that a varint of the largest value takes."""
    return len(varint(int(values.max()))) if len(values) else 1


class Rows:
    """Pieces of n equally long rows, in order; `bytes` stand for the same piece in all rows."""

    def __init__(self, num_rows: int):
        self._num_rows = num_rows
        self._pieces: list[bytes | np.ndarray] = []

    def __len__(self) -> int:
        """Bytes of a row so far."""
        return sum(p.shape[1] if isinstance(p, np.ndarray) else len(p) for p in self._pieces)

    def constant(self, field: int, value: int) -> None:
        """The same varint field in every row."""
        self._pieces.append(tag(field, VARINT) + varint(value))

    def number(self, field: int, values: np.ndarray) -> None:
        """A varint field of numbers >= 0, padded to the width of the largest."""
        size = width(values)
        self._pieces += [tag(field, VARINT), _padded(values, size)]

    def fixed64(self, field: int, values: np.ndarray) -> None:
        self._pieces += [tag(field, FIXED64), values.astype("<i8").view(np.uint8).reshape(-1, 8)]

    def message(self, field: int, inner: "Rows") -> None:
        """A nested message; its length is the same in every row."""
        self._pieces.append(tag(field, LENGTH) + varint(len(inner)))
        self._pieces += inner._pieces

    def matrix(self) -> np.ndarray:
        """uint8 (rows, bytes of a row)."""
        out = np.empty((self._num_rows, len(self)), np.uint8)
        at = 0
        for piece in self._pieces:
            size = piece.shape[1] if isinstance(piece, np.ndarray) else len(piece)
            is_column = isinstance(piece, np.ndarray)
            out[:, at : at + size] = piece if is_column else np.frombuffer(piece, np.uint8)
            at += size
        return out


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    """Varints of `size` bytes each."""
    out = np.empty((len(values), size), np.uint8)
    rest = values.astype(np.uint64)
    for i in range(size):
        out[:, i] = rest & np.uint64(0x7F)
        rest = rest >> np.uint64(7)
    out[:, : size - 1] |= 0x80
    return out
