"""The one border to ONNX Runtime: it reports nothing, reads no other file, keeps to the cores allowed, and survives a
fork."""

import mmap
import os
import re
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lookahead_router.backends.mapped import without_weights
from lookahead_router.errors import CheckpointError, PredictionError
from lookahead_router.threads import ProcessLock, allowed_cores, check_n_threads

_SPIN_MICROSECONDS = "50"
"""How long an idle thread waits busily for the next product of a pass. ONNX Runtime's own million of rounds outlasts
the pass by tens of milliseconds, which triples what it takes of the processor and halves its speed beside others."""
_TIMED_SPINS = (1, 26)
"""The first version that can be told so; before it, threads do not wait busily at all."""
SLOW_FUSIONS = ["SkipLayerNormFusion"]
"""Whose one kernel takes five times as long as the two that it stands for."""
_WHOLE = b"foreseen"
"""What stands in graphs of ours that leave ONNX Runtime nothing to fuse: looking takes it a fourth of opening them."""
_ENTRY = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)\Z")
"""What stands before the key `location` of an entry, in every way that protobuf may spell it."""


def onnxruntime() -> ModuleType:
    """ONNX Runtime with its telemetry off.

    From 1.29 on, importing it writes an id below the home folder and starts a thread that uploads, which also keeps a
    forked child from ending. It heeds the variable at its import only: a program that imports it by itself sets
    `ORT_DISABLE_TELEMETRY=1` before, or has the files and the thread, though no more events.
    """
    switch = os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if switch == "1":
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def session_options(n_threads: int) -> Any:
    """How every graph is opened, with so many threads of one pass."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    options.intra_op_num_threads = n_threads
    if tuple(int(part) for part in runtime.__version__.split(".")[:2]) < _TIMED_SPINS:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
    return options


class Session:
    """A graph on the CPU. Safe under threads, and in a forked child; `shared` gives one to all who ask for the same."""

    def __init__(
        self,
        path: Path,
        *,
        n_threads: int | None = None,
        location: str | None = None,
        is_installed: bool = False,
        is_copy: bool = False,
    ) -> None:
        """Opens a graph.

        Args:
            path: the graph, all tensors in it.
            n_threads: threads of one pass; the physical cores that this process may use when absent.
            location: what errors call the place; the graph's folder when absent.
            is_installed: whether it came with this package, so that nobody else can have made it, and nobody writes to
                it: its weights are then mapped.
            is_copy: whether it is a copy of ours (copies.py), whose tensors stand in a file beside it.

        Raises:
            CheckpointError: not a graph that ONNX Runtime can run, or one with tensors in other files.
            ConfigurationError: `n_threads` is no count.
        """
        check_n_threads(n_threads)
        self.path = path
        self.location = str(path.parent) if location is None else location
        self.n_threads = allowed_cores() if n_threads is None else n_threads
        self._is_mapped = is_installed
        self._about = {"location": location, "is_installed": is_installed, "is_copy": is_copy}
        self._lone: Session | None = None
        self._lock = threading.Lock()
        self._passes: set[object] = set()
        if not (is_installed or is_copy) and _keeps_tensors_elsewhere(path):
            raise CheckpointError(
                f"{path.name} keeps tensors in other files, which no recorded hash covers; save it as one file",
                location=self.location,
            )
        self._state = _file_state(path)
        self._native = self._opened()
        _sessions.add(self)

    @classmethod
    def shared(cls, path: Path, *, n_threads: int | None = None, location: str | None = None, **about) -> "Session":
        """The session of this process for a graph and a count of threads, as long as anybody holds it: many routers
        have their weights in memory once. A file that has changed is opened anew.

        Args:
            path: as of `Session`, and so are the others and what is raised.
            n_threads: see there.
            location: see there.
            about: the rest of them.
        """
        check_n_threads(n_threads)
        n_threads = allowed_cores() if n_threads is None else n_threads
        key = path.resolve(), _file_state(path), n_threads, location
        with _sharing:
            session = _shared.get(key)
            if session is None:
                session = _shared[key] = cls(path, n_threads=n_threads, location=location, **about)
            return session

    @property
    def lone(self) -> "Session":
        """This graph with one thread, for passes beside each other; this session where its file is another by now."""
        if self.n_threads > 1 and self._lone is None and _file_state(self.path) == self._state:
            lone = Session.shared(self.path, n_threads=1, **self._about)
            if lone._state == self._state:
                self._lone = lone
        return self._lone or self

    @property
    def inputs(self) -> dict[str, list]:
        """Shapes of the inputs by name, in order."""
        return {each.name: each.shape for each in self._session().get_inputs()}

    @property
    def outputs(self) -> dict[str, list]:
        """Shapes of the outputs by name, in order."""
        return {each.name: each.shape for each in self._session().get_outputs()}

    def run(self, outputs: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs of a pass by name, unchecked.

        Raises:
            PredictionError: ONNX Runtime cannot run the graph on this.
            CheckpointError: in a forked child, the file has changed since it was loaded.
        """
        session, token = self._session(), object()
        self._passes.add(token)
        try:
            return session.run(list(outputs), feed)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise PredictionError(f"{self.location}: {self.path.name} cannot be run: {error}") from error
        finally:
            self._passes.discard(token)

    def _session(self):
        if self._native is None:
            with self._lock:
                if self._native is None:
                    if _file_state(self.path) != self._state:
                        raise CheckpointError(
                            f"{self.path.name} changed since it was loaded; load the predictor anew",
                            location=self.location,
                        )
                    self._native = self._opened()
        return self._native

    def _opened(self):
        runtime, options = onnxruntime(), session_options(self.n_threads)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.path.parent))
        try:
            graph = without_weights(self.path) if self._is_mapped else str(self.path)
            if self._is_mapped and _WHOLE in graph:
                options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            return runtime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
            )
        except Exception as error:
            reason = str(error).replace(str(self.path), self.path.name)
            raise CheckpointError(
                f"{self.path.name} is not a graph that ONNX Runtime can run: {reason}", location=self.location
            ) from error

    def _forget_threads(self) -> None:
        """In a forked child: opens the graph again when next asked, unless it had no threads and no pass under way."""
        is_usable = self.n_threads == 1 and not self._passes
        self._lock, self._passes = threading.Lock(), set()
        if self._native is not None and not is_usable:
            import ctypes

            # Never freed: that would wait for the parent's threads, at the latest when the child ends.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._native))
            self._native = None


_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()
_shared: "weakref.WeakValueDictionary[tuple, Session]" = weakref.WeakValueDictionary()
_sharing = ProcessLock()


def _file_state(path: Path) -> tuple[int, int, int] | None:
    """What changes with the content of a file; `None` where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _forget_threads() -> None:
    for session in list(_sessions):
        session._forget_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _keeps_tensors_elsewhere(path: Path) -> bool:
    """Whether a tensor of the graph names a file that it is in.

    Such a tensor has an entry with the key `location`; without one, ONNX Runtime refuses it. A name of the graph
    that reads so as well is taken for one, which costs a graph that nobody has.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.find(b"location")
            while at >= 0 and not _ENTRY.search(content, max(0, at - 20), at):
                at = content.find(b"location", at + 1)
            return at >= 0
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is not a graph: {error}", location=str(path.parent)) from error
