"""The log of decisions: a line or a row for each, with a hash of the prompt in place of its text."""

import json
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError, FileError

logger = logging.getLogger(__name__)
SQLITE_SUFFIXES = (".sqlite", ".sqlite3", ".db")
_WAITING = 10_000
"""Records that may wait for the disk."""


class DecisionLog:
    """Writes records in a thread of its own; one that it cannot take is counted and lost, and no request waits."""

    def __init__(self, path: Path, *, max_bytes: int, kept: int, lost: Callable[[], None] = lambda: None) -> None:
        """Opens the log.

        Args:
            path: JSONL, or SQLite by its suffix.
            max_bytes: size at which it is rotated: `log.jsonl` becomes `log.1.jsonl`.
            kept: rotated logs that are kept.
            lost: told of every record that is lost.

        Raises:
            FileError: it cannot be written.
            ConfigurationError: the database is none of ours.
        """
        self._lost = lost
        is_database = path.suffix.lower() in SQLITE_SUFFIXES
        self._file = (_Rows if is_database else _Lines)(path, max_bytes, kept)
        self._file.open()
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, name="lookahead-router-decisions", daemon=True)
        self._thread.start()

    def add(self, record: dict[str, Any]) -> None:
        """Hands a record over."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._lost()

    def close(self) -> None:
        """Writes what is left."""
        self._waiting.put(None)
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        is_failing = False
        while True:
            records = [self._waiting.get()]
            while len(records) < 500 and not self._waiting.empty():
                records.append(self._waiting.get())
            written = [record for record in records if record is not None]
            try:
                self._file.write(written)
                is_failing = False
            except (OSError, sqlite3.Error) as error:
                for _ in written:
                    self._lost()
                if not is_failing:
                    logger.error("the log of decisions cannot be written: %s", type(error).__name__)
                is_failing = True
            if len(written) < len(records):
                return


class _File:
    def __init__(self, path: Path, max_bytes: int, kept: int) -> None:
        self.path, self.max_bytes, self.kept = path, max_bytes, kept

    def open(self) -> None:
        raise NotImplementedError

    def write(self, records: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def rotate(self) -> None:
        """Closes the log, numbers it, and opens a new one."""
        self.close()
        for n in range(self.kept, 0, -1):
            older = self._numbered(n - 1)
            if older.exists():
                os.replace(older, self._numbered(n))
        if not self.kept:
            self.path.unlink(missing_ok=True)
        self.open()

    def _numbered(self, n: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{n}{self.path.suffix}") if n else self.path


class _Lines(_File):
    def open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        except OSError as error:
            raise FileError(error.strerror or str(error), path=str(self.path)) from error
        self._stream = open(descriptor, "a", encoding="utf-8", newline="\n")  # noqa: SIM115 - until it is rotated

    def write(self, records: list[dict[str, Any]]) -> None:
        if self._stream.closed:
            self.open()
        self._stream.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        self._stream.flush()
        if self._stream.tell() >= self.max_bytes:
            self.rotate()

    def close(self) -> None:
        self._stream.close()


class _Rows(_File):
    def open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.path, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS decisions "
                "(id TEXT, time TEXT, kind TEXT, candidate TEXT, cost_usd REAL, record TEXT)"
            )
            self._base.execute("CREATE INDEX IF NOT EXISTS decisions_time ON decisions (time)")
            self.path.chmod(0o600)
        except (OSError, sqlite3.OperationalError) as error:
            raise FileError(getattr(error, "strerror", None) or str(error), path=str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{self.path} is no log of decisions: {error}") from error

    def write(self, records: list[dict[str, Any]]) -> None:
        rows = [
            (*(record.get(name) for name in ("id", "time", "kind", "candidate", "cost_usd")), json.dumps(record))
            for record in records
        ]
        with self._base:
            self._base.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?)", rows)
        pages, size = (self._base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if pages * size >= self.max_bytes:
            self.rotate()

    def close(self) -> None:
        self._base.close()
