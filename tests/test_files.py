import os
import stat
from pathlib import Path

import pytest

from lookahead_router.files import replacing_file, replacing_folder, write_text


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
