"""Files and folders that appear whole or not at all, and JSON that is read strictly."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lookahead_router.errors import CheckpointError, FileError, LookaheadRouterError


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    Raises:
        FileError: it cannot be written: no permission, no space, no such name, or a device that a file would replace.
    """
    with writing(path):
        if (path.exists() and not (path.is_file() or path.is_dir())) or _is_a_stream(path):
            raise FileError("it is no file but a device or a pipe; name a file", path=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        # The kernel applies the umask. Asking for it would set it for a moment, and other threads write meanwhile.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all.

    Raises:
        FileError: it cannot be written, or the text holds half a surrogate pair.
    """
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _is_a_stream(path: Path) -> bool:
    """Whether a path is one of the process's open files, such as `/dev/stdout`."""
    return path.is_symlink() and os.readlink(path).startswith("/proc/")


def check_folder(path: Path) -> None:
    """Whether files could be written to a folder, which need not be there yet; nothing is made.

    Raises:
        FileError: it, or what it would lie in, is a file or not writable.
    """
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not nearest.is_dir():
        raise FileError(f"{nearest} is a file" if nearest != path else "it is a file, not a folder", path=str(path))
    if not os.access(nearest, os.W_OK):
        raise FileError(f"{nearest} is not writable", path=str(path))


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without an error.

    Raises:
        FileError: it cannot be written.
    """
    with writing(path):
        path = path.resolve()  # a link stays a link
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        temporary.mkdir()
        try:
            yield temporary
            if path.exists():
                old = temporary.with_suffix(".old")
                path.rename(old)
                try:
                    temporary.rename(path)
                except OSError:
                    old.rename(path)
                    raise
                shutil.rmtree(old)
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def read_json(path: Path, *, location: str | None = None) -> dict[str, Any]:
    """The object in a JSON file of a saved predictor.

    Args:
        path: the file.
        location: what an error calls the place; the file's folder when absent.

    Raises:
        CheckpointError: not readable, no JSON, or no object.
    """
    location = str(path.parent) if location is None else location
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is not readable JSON: {error}", location=location) from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{path.name} holds no JSON object", location=location)
    return record


_MAY_HOLD_SURROGATES = re.compile(rb"\\u[dD]|\xed|\0")
"""Escaped, or in bytes of UTF-8, or in whatever way in UTF-16 and UTF-32, whose brackets have zeros."""


def parse_json(content: str | bytes) -> Any:
    """The value in JSON text, strictly: all that it holds can be computed with and written again.

    Raises:
        ValueError: malformed, nested too deeply, NaN or infinity, a number beyond float, half a surrogate pair.
    """
    try:
        value = json.loads(content, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
        if _MAY_HOLD_SURROGATES.search(content if isinstance(content, bytes) else content.encode()):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("half a surrogate pair in a text") from error
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number beyond the range of float")
    return number


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) >= 2**63:
        raise ValueError("a number beyond 64 bits")
    return number


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises `FileError` for what keeps a path from being written."""
    if "\0" in str(path):
        raise FileError("a null character in the name", path=str(path).replace("\0", "\\0"))
    try:
        yield
    except LookaheadRouterError:
        raise
    except OSError as error:
        raise FileError(error.strerror or str(error), path=str(path)) from error
    except UnicodeEncodeError as error:
        raise FileError("half a surrogate pair, in the name or in the text", path=str(path)) from error
