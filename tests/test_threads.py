import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from lookahead_router.dispatch import Cooldowns, RecentThreads
from lookahead_router.errors import ConfigurationError, Failure
from lookahead_router.threads import (
    PerProcess,
    ProcessLock,
    _quota,
    allowed_cores,
    check_n_threads,
    compute_threads,
    computed_once,
)

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_a_child(work) -> int:
    """The exit status of a forked child that does the work; 1 where it failed, and a signal where it hung."""
    import signal
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads about, which this is about
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Forks


@forks
def test_a_child_makes_its_own_value():
    pid = PerProcess(os.getpid)
    assert pid() == pid() == os.getpid()

    def check() -> None:
        assert pid() == os.getpid()

    assert in_a_child(check) == 0
    assert pid() == os.getpid()


@forks
def test_a_child_computes_what_another_thread_was_computing():
    begun, may_end = threading.Event(), threading.Event()

    class Slow:
        @computed_once
        def value(self) -> int:
            """What it costs."""
            if os.getpid() == parent:
                begun.set()
                may_end.wait(20)
            return os.getpid()

    parent, slow = os.getpid(), Slow()
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    begun.wait(20)
    assert in_a_child(lambda: Slow().value) == 0
    may_end.set()
    thread.join()
    assert slow.value == parent
    assert Slow.value.__doc__ == "What it costs."


@forks
def test_a_child_does_not_wait_for_what_another_thread_was_making():
    begun, may_end = threading.Event(), threading.Event()

    def make() -> int:
        if os.getpid() == parent:
            begun.set()
            may_end.wait(20)
        return os.getpid()

    parent, value = os.getpid(), PerProcess(make)
    thread = threading.Thread(target=value)
    thread.start()
    begun.wait(20)
    try:
        assert in_a_child(value) == 0
    finally:
        may_end.set()
        thread.join()


@forks
def test_the_threads_of_async_predictions_work_in_a_child():
    assert compute_threads().submit(os.getpid).result(20) == os.getpid()

    def check() -> None:
        assert compute_threads().submit(os.getpid).result(10) == os.getpid()

    assert in_a_child(check) == 0


@forks
@pytest.mark.parametrize("kind", [Cooldowns, RecentThreads])
def test_a_child_does_not_wait_for_a_lock_that_another_thread_held(kind):
    shared = kind()
    held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with shared._lock:
            held.set()
            may_end.wait(20)

    def use() -> None:
        if kind is Cooldowns:
            shared.failed("a", Failure.TIMEOUT)
            assert shared.seconds_left("a") > 0
        else:
            shared["a"] = "c"
            assert shared["a"] == "c"

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    try:
        assert in_a_child(use) == 0
    finally:
        may_end.set()
        thread.join()
    use()


def test_a_lock_lets_one_in_at_a_time_and_keeps_nothing_alive():
    lock, inside = ProcessLock(), []

    def work(lock: ProcessLock) -> None:
        with lock:
            inside.append("in")
            assert inside.count("in") - inside.count("out") == 1
            inside.append("out")

    threads = [threading.Thread(target=work, args=(lock,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 16
    gone = weakref.ref(lock)
    del lock
    gc.collect()
    assert gone() is None


# Cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_one_allowed_cpu_is_one_core():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from lookahead_router.threads import allowed_cores; print(allowed_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_there_is_at_least_one_core_and_none_that_is_not_there():
    assert 1 <= allowed_cores() <= os.cpu_count()


@pytest.fixture
def groups(tmp_path):
    """Makes control groups: `{folder: {file: content}}`, and what `/proc/self/cgroup` says."""

    def make(files: dict[str, str], own: str) -> tuple[Path, Path]:
        for name, content in files.items():
            (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "fs" / name).write_text(content)
        (tmp_path / "cgroup").write_text(own)
        return tmp_path / "fs", tmp_path / "cgroup"

    return make


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", float("inf")),
        ({"pods/a/cpu.max": "max 100000", "pods/cpu.max": "200000 100000"}, "0::/pods/a\n", 2),
        ({"cpu.max": "50000 100000"}, "0::/a/group/of/the/host\n", 0.5),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, "4:memory:/\n3:cpu:/\n", 3),
        (
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "-1", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            "3:cpu,cpuacct:/x\n",
            float("inf"),
        ),
        ({"cpu.max": "nonsense"}, "0::/\n", float("inf")),
        ({}, "", float("inf")),
    ],
)
def test_the_quota_of_the_control_groups_is_the_smallest_on_the_way_up(groups, files, own, expected):
    assert _quota(*groups(files, own)) == expected


@pytest.mark.parametrize("n_threads", ["2", 0, -1, 1.0, True, [1]])
def test_a_count_of_threads_that_is_none_is_refused(n_threads):
    with pytest.raises(ConfigurationError, match="n_threads must be a whole number"):
        check_n_threads(n_threads)


def test_a_count_of_threads_or_none_passes():
    check_n_threads(None)
    check_n_threads(3)
