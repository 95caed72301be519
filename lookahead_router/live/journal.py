"""Append-only JSONL that survives a crash at any moment: what a line says was done is on the disk."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.extras import require
from lookahead_router.files import parse_json, writing
from lookahead_router.threads import ProcessLock

_MOST_ROOM = 64 * 2**20
_BLOCK = 2**16
_GROUP_SECONDS = 0.01
"""How long a flush waits for more records; nobody waits for it but the answer after the next."""


class Journal:
    """Records in a file, a line each, or in memory where there is no file.

    A record outlives the process as soon as it is appended; `append` comes back when it is on the disk, too, and many
    at one time share one flush. A line that a crash left unfinished is taken off when the file is opened again. A full
    disk loses nothing: `keep_room` sets space aside, which is given up for what still comes in.
    """

    def __init__(self, path: Path | None, *, is_synced: bool = True) -> None:
        """Reads a journal that may be there.

        Args:
            path: the file; none when absent.
            is_synced: whether a record has to survive a loss of power, and not only the end of this process.

        Raises:
            DataError: the file is no journal: a line of it is no JSON object.
        """
        self.path, self._is_synced = path, is_synced
        self.records: list[dict[str, Any]] = []
        """What was in the file when it was opened, and what was appended since."""
        self._file: int | None = None
        self._waiting: list[asyncio.Future] = []
        self._flusher: asyncio.Task | None = None
        self._size = 0
        self._lock = ProcessLock()
        self._joint = b""
        if path is not None:
            self.records, whole = _whole_lines(path)
            self._size = len(whole)
            self._joint = b"\n" if whole and not whole.endswith(b"\n") else b""

    def open(self) -> None:
        """Makes the file ready to be written; `append` does so too, the first time. Until then it stays as it was.

        Raises:
            FileError: it cannot be written.
        """
        if self.path is None or self._file is not None:
            return
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_CREAT | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
            self._take_back()
            _sync_folder(self.path.parent)
        if self._joint:
            self._write(self._joint)

    async def append(self, record: Mapping[str, Any]) -> None:
        """Adds a record of plain JSON types, and waits until it is on the disk.

        Raises:
            FileError: the disk is full, or the file cannot be written any more; nothing of the record is in it.
        """
        if self.path is None:
            self.records.append(dict(record))
            return
        self.open()
        self._write(_line(record))  # from here on it outlives this process
        self.records.append(dict(record))
        if self._is_synced:
            synced = asyncio.get_running_loop().create_future()
            self._waiting.append(synced)
            if self._flusher is None or self._flusher.done():
                self._flusher = asyncio.create_task(self._flush())
            await asyncio.shield(synced)

    def keep_room(self, n_bytes: int) -> None:
        """Sets space on the disk aside for records to come, at most 64 MiB.

        Raises:
            FileError: there is no such space.
        """
        if self.path is None:
            return
        self.open()
        with writing(self.path), self._room.open("wb") as file:
            for _ in range(-(-min(n_bytes, _MOST_ROOM) // _BLOCK)):
                file.write(b"\1" * _BLOCK)  # zeros may take none
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Gives file and space back."""
        if self._file is None:
            return
        try:
            if self._waiting:
                self._sync()  # what an interrupt left
        finally:
            with self._lock:
                os.close(self._file)
                self._file = None
            with suppress(OSError):
                self._room.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _room(self) -> Path:
        return self.path.with_name(f".{self.path.name}.room")

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GROUP_SECONDS)
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._sync)
            except Exception as error:
                for synced in batch:
                    synced.set_exception(error)
                    synced.exception()  # whoever waited may have been cancelled
            else:
                for synced in batch:
                    synced.set_result(None)

    def _sync(self) -> None:
        with self._lock, writing(self.path):
            if self._file is not None:
                os.fsync(self._file)

    def _write(self, line: bytes) -> None:
        with writing(self.path):
            try:
                self._write_once(line)
            except OSError:
                if not self._room.exists():
                    raise
                self._room.unlink()
                self._write_once(line)

    def _write_once(self, line: bytes) -> None:
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            self._take_back()
            raise
        self._size += len(line)

    def _take_back(self) -> None:
        """Takes off what is behind the last whole line."""
        os.ftruncate(self._file, self._size)
        os.lseek(self._file, self._size, os.SEEK_SET)


@contextmanager
def only_here(path: Path | None) -> Iterator[None]:
    """Lets one run at a time write an output; the lock ends with the process, however that ends.

    Raises:
        ConfigurationError: another run writes it.
        FileError: its folder cannot be written.
    """
    if path is None:
        yield
        return
    filelock = require("filelock", "live")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise ConfigurationError(f"another run is writing {path}; wait for it, or choose another output") from None
    try:
        yield
    finally:
        lock.release()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a journal; a last line that was never finished is left out.

    Raises:
        DataError: no such file, or one that is no journal.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return _whole_lines(path)[0]


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], bytes]:
    """The records of a file, and the part of its bytes that they take."""
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    end = data.rfind(b"\n") + 1
    rest = data[end:]
    if _record(rest) is not None:
        end = len(data)  # whole, but for a line feed that an editor did not write
    elif not rest.startswith(b'{"') and rest.strip(b"\0"):
        end = len(data)  # no record that a crash cut off, nor what a loss of power leaves of one
    records = []
    for row, line in enumerate(data[:end].split(b"\n")):
        if line.strip():
            record = _record(line)
            if record is None:
                raise DataError(f"{path}, line {row + 1}: no JSON object; was it written by something else?")
            records.append(record)
    return records, data[:end]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse_json(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"


def _sync_folder(folder: Path) -> None:
    """Makes a new file's name survive too; where folders cannot be opened, as on Windows, nothing is done."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
