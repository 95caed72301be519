"""Checkpoints of a run: the newest that can be resumed from, and what a full disk looks like."""

import errno
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lookahead_router.errors import LookaheadRouterWarning, TrainingError
from lookahead_router.training.trainer import AVERAGE_FILE


def newest_checkpoint(output: Path) -> Path | None:
    """The newest checkpoint that is whole and can be read; `None` where a run has to start anew.

    A checkpoint is whole once its last file is written: what a kill left half done is skipped. One that was damaged
    later is deleted with a warning, or the Trainer would keep it in place of sound ones.

    Args:
        output: folder of the run.
    """
    whole = [path for path in (output / "checkpoints").glob("checkpoint-*") if (path / AVERAGE_FILE).is_file()]
    for checkpoint in sorted(whole, key=step_of, reverse=True):
        problem = _damage(checkpoint)
        if problem is None:
            return checkpoint
        warnings.warn(
            f"{checkpoint} is damaged ({problem}) and deleted; the run goes on from an older one, or begins anew",
            LookaheadRouterWarning,
            stacklevel=4,
        )
        shutil.rmtree(checkpoint)
    return None


def step_of(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint was saved at."""
    return int(checkpoint.name.rpartition("-")[2])


def _damage(checkpoint: Path) -> str | None:
    """What is wrong with a file of a checkpoint; `None` where nothing shows."""
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json", AVERAGE_FILE):
        path = checkpoint / name
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, "np"):  # reads the header, and holds the size against it
                    pass
            elif path.suffix == ".pt":
                with zipfile.ZipFile(path) as archive:
                    if (broken := archive.testzip()) is not None:
                        return f"{name}: {broken}"
            elif not path.read_bytes().rstrip().endswith(b"}"):
                return f"{name} is cut off"
        except (OSError, SafetensorError, zipfile.BadZipFile) as error:
            return f"{name}: {error}"
    return None


@contextmanager
def explaining_full_disks(output: Path) -> Iterator[None]:
    """Turns the many ways in which a full disk shows into one error."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
            text in str(error) for text in ("No space left", "PytorchStreamWriter", "unexpected pos")
        )
        if not is_full:
            raise
        raise TrainingError(
            f"the disk of {output} is full; the last whole checkpoint is kept. Free some space and run again to resume"
        ) from error
