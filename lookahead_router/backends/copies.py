"""Weights that all processes of a machine have in memory once.

ONNX Runtime maps tensors that stand in a file beside their graph, and writes such files itself, the tensors as its
kernels want them. So a copy of that kind is made, once a machine and start of it, where only this user can write.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from lookahead_router.backends.runtime import SLOW_FUSIONS, Session, onnxruntime, session_options
from lookahead_router.errors import CheckpointError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Names a start of a machine: what is arranged for its processor is another's to make anew, and so is what a crash
left half written. Only Linux has it."""
_WEIGHTS = "weights.bin"
_WRITES = {
    "optimized_model_external_initializers_file_name": _WEIGHTS,
    "optimized_model_external_initializers_min_size_in_bytes": "1024",
    "save_external_prepacked_constant_initializers": "1",
}
_LENGTHS = (1, 17, 120)
"""Tokens of the prompts by which a copy is held against its graph."""
_TOKENS = 100
_MAKE_SECONDS = 120


class _Switch:
    is_on = False


def map_weights() -> None:
    """From now on this process opens graphs from copies that it shares with others, where that gives the same bits."""
    _Switch.is_on = True


def open_session(path: Path, *, n_threads: int | None, is_installed: bool) -> Session:
    """The session of this process for a graph; on a copy of it where `map_weights` was called.

    Args:
        path: as of `Session`, and so are the others and what is raised.
        n_threads: see there.
        is_installed: see there.
    """
    if _Switch.is_on:
        try:
            copy = _copy_of(path, is_installed=is_installed)
            return Session.shared(copy, n_threads=n_threads, location=str(path.parent), is_copy=True)
        except (OSError, CheckpointError) as error:
            import logging  # four milliseconds of a start that has nothing to say

            text = "the weights of %s are not shared with other processes: %s"
            logging.getLogger(__name__).warning(text, path.name, error)
    return Session.shared(path, n_threads=n_threads, is_installed=is_installed)


def _copy_of(path: Path, *, is_installed: bool) -> Path:
    """A copy of a graph whose weights are mapped; made where there is none.

    Raises:
        OSError: there is no place for it.
        CheckpointError: it could not be made, or says something else than the graph.
    """
    folder = _own_folder()
    copy = _place(folder, path, path.read_bytes())
    if not _is_whole(copy):
        # By a process of its own, since what it takes of memory a process keeps.
        command = [sys.executable, "-m", __name__, str(folder), str(path), *(["installed"] if is_installed else [])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_MAKE_SECONDS)
        except subprocess.TimeoutExpired:
            raise CheckpointError("making a copy took too long", location=str(path.parent)) from None
        if not _is_whole(copy):
            why = (made.stderr.strip() or "no copy was made").splitlines()[-1]
            raise CheckpointError(why, location=str(path.parent))
    return copy


def _own_folder() -> Path:
    """A folder of this machine that nobody else can write to.

    Raises:
        OSError: it cannot be made, or what is there is another's, or a link.
    """
    folder = Path(tempfile.gettempdir()) / f"lookahead-router-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone")
    return folder


def _place(folder: Path, path: Path, content: bytes) -> Path:
    about = hashlib.sha256(content)
    about.update("\0".join((_BOOT.read_text(), onnxruntime().__version__, path.name)).encode())
    return folder / about.hexdigest() / path.name


def _is_whole(copy: Path) -> bool:
    return copy.is_file() and copy.with_name(_WEIGHTS).is_file()


def _make(folder: Path, path: Path, *, is_installed: bool) -> None:
    """Makes a copy, unless another process was faster.

    Raises:
        OSError, CheckpointError, PredictionError: it cannot be made, or says something else than the graph.
    """
    import fcntl

    content = path.read_bytes()
    copy = _place(folder, path, content)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_whole(copy):
            return
        own = Session(path, n_threads=1, is_installed=is_installed)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / "made" / path.name
            made.parent.mkdir()
            _write(content, made)
            if _answers(own) != _answers(Session(made, n_threads=1, is_copy=True)):
                raise CheckpointError("a copy with mapped weights gives other bits", location=str(path.parent))
            shutil.rmtree(copy.parent, ignore_errors=True)  # one that lost a file to a tidy system
            made.parent.rename(copy.parent)


def _write(content: bytes, copy: Path) -> None:
    options = session_options(1)
    options.optimized_model_filepath = str(copy)
    for name, value in _WRITES.items():
        options.add_session_config_entry(f"session.{name}", value)
    onnxruntime().InferenceSession(
        content, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
    )


def _answers(session: Session) -> list[bytes]:
    prompts = [np.arange(length, dtype=np.int64)[None] % _TOKENS for length in _LENGTHS]
    feeds = [{"prompt_ids": ids, "prompt_mask": np.ones_like(ids)} for ids in prompts]
    return [array.tobytes() for feed in feeds for array in session.run(list(session.outputs), feed)]


if __name__ == "__main__":
    _make(Path(sys.argv[1]), Path(sys.argv[2]), is_installed=sys.argv[3:] == ["installed"])
