import asyncio
import errno
import os
import subprocess
import sys

import pytest

from lookahead_router.errors import ConfigurationError, DataError, FileError
from lookahead_router.live.journal import Journal, only_here, read_records


def append(journal, *records):
    async def run():
        await asyncio.gather(*(journal.append(record) for record in records))

    asyncio.run(run())


def test_what_is_appended_is_in_the_file_and_there_when_it_is_opened_again(tmp_path):
    path = tmp_path / "new" / "j.jsonl"
    with Journal(path) as journal:
        append(journal, *({"n": n, "text": "é\n"} for n in range(20)))
        assert [record["n"] for record in read_records(path)] == list(range(20))
    with Journal(path) as journal:
        assert len(journal.records) == 20
        append(journal, {"n": 20})
    assert [record["n"] for record in read_records(path)] == list(range(21))


def test_many_records_at_one_time_share_flushes(tmp_path, monkeypatch):
    flushes = []
    real = os.fsync
    with Journal(tmp_path / "j.jsonl") as journal:
        monkeypatch.setattr(os, "fsync", lambda file: (flushes.append(file), real(file)))
        append(journal, *({"n": n} for n in range(200)))
    assert 0 < len(flushes) < 10


@pytest.mark.parametrize("torn", [b'{"n": 1, "te', b'{"', b"\0\0\0\0", '{"text": "é'.encode()[:-1], b""])
def test_a_line_that_a_crash_left_unfinished_is_taken_off(tmp_path, torn):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"n": 0}\n' + torn)
    assert read_records(path) == [{"n": 0}]
    with Journal(path) as journal:
        append(journal, {"n": 1})
    assert path.read_bytes() == b'{"n": 0}\n{"n": 1}\n'


def test_a_whole_last_line_without_its_line_feed_is_kept(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n": 1}')
    with Journal(path) as journal:
        append(journal, {"n": 2})
    assert [record["n"] for record in read_records(path)] == [0, 1, 2]


@pytest.mark.parametrize("line", [b"secret\n", b"[1]\n", b'{"n": NaN}\n', b"secret", b'{"n": NaN}\n{"'])
@pytest.mark.parametrize("before", [b"", b'{"n": 0}\n'])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path, before, line):
    path = tmp_path / "notes.txt"
    path.write_bytes(before + line)
    with pytest.raises(DataError, match=f"line {2 if before else 1}: no JSON object") as caught:
        Journal(path)
    assert "secret" not in str(caught.value)
    assert path.read_bytes() == before + line


def test_a_file_stays_as_it_was_until_something_is_written(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path):
        assert not path.exists()
    path.write_bytes(b'{"n": 0}\n{"n": 1, "te')
    with Journal(path) as journal:
        assert journal.records == [{"n": 0}]
    assert path.read_bytes() == b'{"n": 0}\n{"n": 1, "te'


def test_a_second_run_on_the_same_output_is_refused_and_one_after_the_first_is_not(tmp_path):
    path = tmp_path / "answers.jsonl"
    code = f"""
from pathlib import Path
from lookahead_router.live.journal import only_here
with only_here(Path({str(path)!r})):
    print("mine", flush=True); input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "mine\n"
        with pytest.raises(ConfigurationError, match=r"another run is writing .*answers\.jsonl"), only_here(path):
            pass
        first.kill()  # whatever way the first one ends
    with only_here(path):
        pass


def fails_from(journal, monkeypatch, n_bytes):
    """Lets the disk be full after so many bytes, and less full when the room is given up."""
    real = os.write

    def write(file, data):
        nonlocal n_bytes
        if file != journal._file:
            return real(file, data)
        room = n_bytes + (0 if journal._room.exists() else 10**6)
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(file, bytes(data[:room]))
        n_bytes -= written
        return written

    monkeypatch.setattr(os, "write", write)


def test_a_full_disk_is_an_error_that_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        append(journal, {"n": 0})
        monkeypatch.setattr(os, "write", lambda file, data: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
        with pytest.raises(FileError, match=r"cannot write .*j\.jsonl: No space"):
            append(journal, {"n": 1})
        monkeypatch.undo()
        append(journal, {"n": 2})
    assert [record["n"] for record in read_records(path)] == [0, 2]


def test_room_that_was_kept_takes_what_comes_in_after_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.keep_room(100_000)
        room = journal._room
        assert room.stat().st_size >= 100_000
        fails_from(journal, monkeypatch, 20)
        append(journal, {"text": "x" * 50})
        assert not room.exists()
    assert read_records(path) == [{"text": "x" * 50}]
    assert [each.name for each in tmp_path.iterdir()] == ["j.jsonl"]


def test_what_an_interrupt_left_unwritten_is_written_when_the_journal_closes(tmp_path):
    path = tmp_path / "j.jsonl"

    async def interrupted(journal):
        waiting = asyncio.create_task(journal.append({"n": 0}))
        await asyncio.sleep(0)
        waiting.cancel()

    with Journal(path) as journal:
        asyncio.run(interrupted(journal))
    assert read_records(path) == [{"n": 0}]


def test_without_a_file_the_records_are_kept_in_memory():
    with Journal(None) as journal:
        journal.keep_room(10)
        append(journal, {"n": 0})
    assert journal.records == [{"n": 0}]
