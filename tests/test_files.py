import errno
import os
import pickle
import stat
from pathlib import Path

import pytest

from lookahead_router.errors import CheckpointError, FileError
from lookahead_router.files import check_folder, parse_json, read_json, replacing_file, replacing_folder, write_text


class Crash(Exception):
    pass


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a file and a folder in it."""
    path = tmp_path / "saved"
    (path / "onnx").mkdir(parents=True)
    (path / "config.json").write_text("old")
    (path / "onnx" / "model.onnx").write_bytes(b"old weights")
    return path


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def listing(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def crash_in_file(path: Path, content: bytes) -> None:
    with replacing_file(path) as temporary:
        temporary.write_bytes(content)
        raise Crash


def crash_in_folder(path: Path) -> None:
    with replacing_folder(path) as temporary:
        (temporary / "config.json").write_text("half of the n")
        raise Crash


# Files


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert listing(tmp_path) == ["a.txt"]


def test_missing_parent_folders_are_made(tmp_path):
    write_text(tmp_path / "deep" / "er" / "a.txt", "x")
    assert (tmp_path / "deep" / "er" / "a.txt").read_text() == "x"


def test_a_crash_leaves_the_old_file_whole_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(Crash):
        crash_in_file(path, b"half of the n")
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


def test_a_crash_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(Crash):
        crash_in_file(tmp_path / "a.txt", b"half")
    assert listing(tmp_path) == []


def test_a_failing_rename_leaves_the_old_file_whole_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(self, target):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").is_dir()
    assert listing(tmp_path) == ["a"]


def test_the_temporary_file_lies_beside_the_target_so_that_renaming_is_atomic(tmp_path):
    with replacing_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")


def test_permissions_of_a_file_follow_the_umask(tmp_path, umask):
    path = tmp_path / "a.txt"
    write_text(path, "x")
    assert permissions(path) == 0o666 & ~umask


def test_writing_leaves_the_umask_as_it_was(tmp_path, umask):
    write_text(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").touch()
    assert permissions(tmp_path / "b.txt") == 0o666 & ~umask


def test_text_is_utf8_and_kept_to_the_byte(tmp_path):
    write_text(tmp_path / "a.txt", "naïve 😀\nline\n")
    assert (tmp_path / "a.txt").read_bytes() == "naïve 😀\nline\n".encode()


# Folders


def test_a_folder_takes_the_place_of_the_old_one_with_all_that_was_in_it(tmp_path, folder):
    with replacing_folder(folder) as temporary:
        (temporary / "new.json").write_text("new")
        assert (folder / "config.json").read_text() == "old"
    assert listing(folder) == ["new.json"]
    assert listing(tmp_path) == ["saved"]


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    with replacing_folder(tmp_path / "deep" / "er") as temporary:
        (temporary / "a").touch()
    assert listing(tmp_path / "deep" / "er") == ["a"]
    assert listing(tmp_path / "deep") == ["er"]


def test_a_crash_leaves_the_old_folder_whole_and_nothing_else(tmp_path, folder):
    with pytest.raises(Crash):
        crash_in_folder(folder)
    assert (folder / "config.json").read_text() == "old"
    assert (folder / "onnx" / "model.onnx").read_bytes() == b"old weights"
    assert listing(folder) == ["config.json", "onnx"]
    assert listing(tmp_path) == ["saved"]


def test_a_crash_leaves_no_folder_where_there_was_none(tmp_path):
    with pytest.raises(Crash):
        crash_in_folder(tmp_path / "saved")
    assert listing(tmp_path) == []


def test_a_failing_rename_leaves_the_old_folder_in_its_place(tmp_path, folder, monkeypatch):
    rename = Path.rename

    def refuse_the_new_one(self, target):
        if self.suffix == ".partial":
            raise OSError("stale file handle")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(OSError, match="stale file handle"), replacing_folder(folder) as temporary:
        (temporary / "config.json").write_text("new")
    assert (folder / "config.json").read_text() == "old"
    assert listing(tmp_path) == ["saved"]


def test_a_link_to_a_folder_can_be_replaced(tmp_path, folder):
    link = tmp_path / "latest"
    link.symlink_to(folder, target_is_directory=True)
    with replacing_folder(link) as temporary:
        (temporary / "config.json").write_text("new")
    assert (link / "config.json").read_text() == "new"
    assert listing(tmp_path) == ["latest", "saved"]


def test_permissions_of_a_folder_follow_the_umask(tmp_path, umask):
    with replacing_folder(tmp_path / "saved") as temporary:
        (temporary / "a").touch()
    assert permissions(tmp_path / "saved") == 0o777 & ~umask


def test_the_umask_is_never_set_as_other_threads_write_meanwhile(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "umask", calls.append)
    write_text(tmp_path / "a.txt", "x")
    with replacing_folder(tmp_path / "folder"):
        pass
    assert calls == []


# What cannot be written


@pytest.fixture(params=["file", "folder"])
def write(request):
    def write(path: Path) -> None:
        with (replacing_file if request.param == "file" else replacing_folder)(path):
            pass

    return write


@pytest.mark.parametrize("name", ["file/a", "a" * 300, "half \ud800", "null \0"])
def test_a_name_that_cannot_be_written_is_a_file_error(tmp_path, write, name):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write") as caught:
        write(tmp_path / name)
    assert isinstance(caught.value, OSError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("open_", [replacing_file, replacing_folder])
def test_a_full_disk_is_a_file_error_and_leaves_what_was_there(tmp_path, open_):
    with pytest.raises(FileError, match="No space left on device"), open_(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert listing(tmp_path) == []


def test_errors_of_what_is_written_pass_as_they_are(tmp_path):
    with pytest.raises(CheckpointError, match="of its own"), replacing_file(tmp_path / "a"):
        raise CheckpointError("of its own")


def test_half_a_surrogate_pair_in_a_text_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="half a surrogate pair"):
        write_text(tmp_path / "a.txt", "\ud800")
    assert listing(tmp_path) == []


# JSON

STRANGE = {
    "nested": b"[" * 200_000,
    "nested object": b'{"a":' * 200_000,
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e999}',
    "integer beyond float": b'{"a": 1' + b"0" * 400 + b"}",
    "integer beyond the parser": b'{"a": 1' + b"0" * 5000 + b"}",
    "half a pair": b'{"a": "\\ud800"}',
    "half a pair as a name": b'{"\\udfff": 1}',
    "latin-1": b'{"a": "\xe9"}',
    "empty": b"",
}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
def test_json_that_nothing_can_be_done_with_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
def test_a_file_of_it_is_a_checkpoint_error_that_names_the_file(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json is not readable JSON") as caught:
        read_json(tmp_path / "config.json")
    assert caught.value.location == str(tmp_path)


def test_json_is_read_as_it_was_written(tmp_path):
    (tmp_path / "a.json").write_text(
        '{"a": [1, 2.5, null, true, "😀", "\\ud83d\\ude00"], "b": {"c": -9007199254740993}}'
    )
    assert read_json(tmp_path / "a.json") == {
        "a": [1, 2.5, None, True, "😀", "😀"],
        "b": {"c": -9007199254740993},
    }


def test_json_that_is_no_object_or_not_there_is_a_checkpoint_error(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(CheckpointError, match="holds no JSON object"):
        read_json(tmp_path / "a.json")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        read_json(tmp_path / "b.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_folder_that_could_not_be_written_to_is_told_before_there_is_anything_to_write(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper" / "still"):
        with pytest.raises(FileError, match="is a file"):
            check_folder(path)
    for path in (tmp_path, tmp_path / "new" / "deeper"):
        check_folder(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    for name in ("pipe", "stdout"):
        before = os.lstat(tmp_path / name)
        with pytest.raises(FileError, match="no file but a device or a pipe"):
            write_text(tmp_path / name, "text")
        assert os.lstat(tmp_path / name) == before
