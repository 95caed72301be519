"""A short name for data, by which runs and reports tell whether they are about the same."""

import hashlib
from collections.abc import Iterable

import numpy as np


def fingerprint(names: tuple[str, ...], columns: Iterable[np.ndarray]) -> str:
    """Hash of candidates' names and of columns: the same data in the same order, the same 16 hex digits.

    Args:
        names: of the candidates.
        columns: arrays of float64, or of values that are hashed as text, `None` as what is not there.
    """
    digest = hashlib.sha256(repr(names).encode())
    for column in columns:
        if column.dtype == np.float64:
            digest.update(np.ascontiguousarray(column).tobytes())
        else:
            for value in column.ravel():
                text = b"" if value is None else str(value).encode("utf-8", "surrogatepass")
                digest.update(b"-" if value is None else b"%d:%b" % (len(text), text))
    return digest.hexdigest()[:16]
