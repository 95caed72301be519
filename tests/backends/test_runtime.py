"""The border to ONNX Runtime: telemetry, files, threads, forks, and what comes out."""

import gc
import os
import re
import shutil
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from lookahead_router import LookaheadPredictor
from lookahead_router.backends.base import checked_logits
from lookahead_router.backends.onnx import OnnxBackend
from lookahead_router.backends.runtime import Session
from lookahead_router.errors import CheckpointError, ConfigurationError, PredictionError

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

VOCABULARY, K = 12, 3
IDS, MASK = np.array([[1, 2, 3], [4, 5, 6]]), np.ones((2, 3), dtype=np.int64)


def make_graph(*ends: tuple[str, str, dict], vocabulary: int = VOCABULARY, table: np.ndarray | None = None, **consts):
    """A routing graph: the mean row of a table by token, `(B, K)`; `ends` are operators that it goes through."""
    table = np.random.default_rng(0).normal(size=(vocabulary, K)).astype(np.float32) if table is None else table
    nodes = [
        helper.make_node("Gather", ["table", "prompt_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["x0"], axes=[1], keepdims=0),
    ]
    for at, (operator, other, attributes) in enumerate(ends):
        inputs = [f"x{at}", other] if other else [f"x{at}"]
        nodes.append(helper.make_node(operator, inputs, [f"x{at + 1}"], **attributes))
    nodes.append(helper.make_node("Identity", [f"x{len(ends)}"], ["score_logits"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["B", "T"]) for n in ("prompt_ids", "prompt_mask")],
        [onnx.ValueInfoProto(name="score_logits")],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in {"table": table, **consts}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.fixture
def save(tmp_path):
    def save(model, name: str = "model.onnx") -> Path:
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return save


# Telemetry


def run_as_users_do(code: str, home: Path) -> str:
    """What the code prints, in a home of its own, and with no variable of a build server to hide behind."""
    hidden = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "TF_BUILD", "GITHUB_ACTIONS", "JENKINS_URL")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    apart = ["unshare", "-n"] if shutil.which("unshare") and os.geteuid() == 0 else []  # nothing leaves the machine
    command = [*apart, sys.executable, "-c", code]
    done = subprocess.run(command, env={**environment, "HOME": str(home)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


COUNT = "import os; print(len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 1)"


def test_nothing_reports_home(tmp_path):
    # numpy's own pool of threads is none of ONNX Runtime's.
    code = (
        "import os; os.environ |= dict.fromkeys(('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS'), '1'); import time;"
        "from lookahead_router import Router; Router.from_pretrained(n_threads=1).route('hello')"
    )
    assert run_as_users_do(f"{code}; time.sleep(0.5); {COUNT}", tmp_path) == "1"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_only_one_module_imports_onnxruntime():
    package = Path(sys.modules["lookahead_router"].__file__).parent
    of_its_own = re.compile(r"^\s*(import|from) onnxruntime", re.MULTILINE)
    assert [p.name for p in package.rglob("*.py") if of_its_own.search(p.read_text("utf-8"))] == ["runtime.py"]


def test_a_program_that_asks_for_telemetry_by_name_keeps_it(tmp_path):
    code = (
        "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; from lookahead_router.backends import runtime;"
        "runtime.onnxruntime(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    assert run_as_users_do(code, tmp_path) == "0"


# Threads


def threads_of(code: str) -> int:
    done = subprocess.run([sys.executable, "-c", f"{code}; {COUNT}"], capture_output=True, text=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads by /proc")
def test_a_pass_has_as_many_threads_as_the_process_may_use_cores(save):
    path = save(make_graph())
    opens = (
        f"from pathlib import Path; from lookahead_router.backends.onnx import OnnxBackend as B; b = B(Path('{path}')"
    )
    one_cpu = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert threads_of(f"{one_cpu}; {opens})") == 1
    assert threads_of(f"{one_cpu}; {opens}, n_threads=3)") == 3


@pytest.mark.parametrize("n_threads", ["2", 0, 1.5, True])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_count_of_threads_is_checked_when_a_predictor_is_loaded(n_threads, backend):
    with pytest.raises(ConfigurationError, match="n_threads"):
        LookaheadPredictor.load(n_threads=n_threads, backend=backend)


# Forks


def exit_of_child(work) -> int:
    import signal
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_forked_child_routes_as_its_parent_and_ends(tmp_path, n_threads):
    code = f"""
import os, sys
from lookahead_router import Router
router = Router.from_pretrained(n_threads={n_threads})
prompts = ["explain how a compiler works " * 9] * 8
expected = router.predict(prompts).scores
for routes in (True, False):
    pid = os.fork()
    if pid == 0:
        import signal; signal.alarm(60)
        sys.exit(0 if not routes or (router.predict(prompts).scores == expected).all() else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert (router.predict(prompts).scores == expected).all()
"""
    run_as_users_do(code, tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_keeps_the_weights_of_a_session_without_threads_and_reopens_one_with_them(save):
    single, several = (Session(save(make_graph()), n_threads=n) for n in (1, 2))
    natives = single._native, several._native

    def check() -> None:
        assert single._native is natives[0]
        assert several._native is None
        feed = {"prompt_ids": IDS, "prompt_mask": MASK}
        assert (several.run(["score_logits"], feed)[0] == single.run(["score_logits"], feed)[0]).all()

    assert exit_of_child(check) == 0
    assert several._native is natives[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_does_not_route_with_weights_that_changed_meanwhile(save):
    path = save(make_graph())
    session = Session(path, n_threads=2)
    time.sleep(0.01)
    save(make_graph(table=np.zeros((VOCABULARY, K), dtype=np.float32)))

    def check() -> None:
        with pytest.raises(CheckpointError, match="changed since it was loaded"):
            session.run(["score_logits"], {"prompt_ids": IDS, "prompt_mask": MASK})

    assert exit_of_child(check) == 0


# Other files


def make_external(location: str, *, in_node: bool = False):
    from onnx.external_data_helper import set_external_data

    model = make_graph()
    table = model.graph.initializer[0]
    if in_node:
        node = helper.make_node("Constant", [], ["table"], value=table)
        del model.graph.initializer[0]
        model.graph.node.insert(0, node)
        table = model.graph.node[0].attribute[0].t
    size = len(table.raw_data)
    set_external_data(table, location, length=size)
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    return model


@pytest.mark.parametrize("in_node", [False, True])
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "weights.bin"])
def test_a_graph_with_tensors_in_other_files_is_refused(save, tmp_path, location, in_node):
    (tmp_path / "weights.bin").write_bytes(bytes(VOCABULARY * K * 4))
    path = save(make_external(location, in_node=in_node))
    with pytest.raises(CheckpointError, match="keeps tensors in other files"):
        OnnxBackend(path)


def test_so_it_is_in_whatever_way_protobuf_spells_the_key(save):
    path = save(make_external("weights.bin"))
    for spelt in (b"\x0a\x88\x00location", b"\x8a\x00\x08location", b"\x8a\x80\x00\x88\x80\x00location"):
        content = path.read_bytes()
        assert b"\x0a\x08location" in content
        (path.parent / "spelt.onnx").write_bytes(content.replace(b"\x0a\x08location", spelt))
        with pytest.raises(CheckpointError, match="keeps tensors in other files"):
            OnnxBackend(path.parent / "spelt.onnx")


def test_a_name_that_holds_the_word_is_no_other_file(save):
    model = make_graph()
    model.graph.doc_string = "of allocation, location and more"
    model.graph.node[0].name = "relocation"
    assert OnnxBackend(save(model)).score_logits(IDS, MASK).shape == (2, K)


# What comes out


def f32(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)


OUTPUTS = {
    "NaN": make_graph(("Mul", "c", {}), c=f32(np.nan)),
    "NaN in a column": make_graph(("Add", "c", {}), c=f32([0, 0, np.nan])),
    "infinite": make_graph(("Add", "c", {}), c=f32([0, np.inf, 0])),
    "one for all": make_graph(("ReduceMean", "", {"axes": [0], "keepdims": 1})),
    "no rows": make_graph(("ReduceMean", "", {"axes": [0], "keepdims": 0})),
    "no columns": make_graph(("ReduceMean", "", {"axes": [1], "keepdims": 0})),
    "one column": make_graph(("ReduceMean", "", {"axes": [1], "keepdims": 1})),
    "another axis": make_graph(("Unsqueeze", "c", {}), c=np.array([2])),
    "integers": make_graph(("Cast", "", {"to": TensorProto.INT64})),
    "a sequence": make_graph(("SequenceConstruct", "", {})),
    "a batch of one": make_graph(("Reshape", "c", {}), c=np.array([1, K])),
    "too few tokens": make_graph(vocabulary=2),
}


@pytest.mark.parametrize("model", OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_that_is_no_scores_is_an_error_of_ours(save, model):
    with pytest.raises((PredictionError, CheckpointError)):
        checked_logits(OnnxBackend(save(model)), IDS, MASK, K)


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_floats_of_another_width_are_scores(save, kind):
    logits = checked_logits(OnnxBackend(save(make_graph(("Cast", "", {"to": kind})))), IDS, MASK, K)
    expected = checked_logits(OnnxBackend(save(make_graph())), IDS, MASK, K)
    np.testing.assert_allclose(logits, expected, atol=1e-2)
    assert logits.dtype == np.float64


def test_a_predictor_with_such_weights_cannot_be_loaded(save, predictor_folder, tmp_path):
    shutil.copytree(predictor_folder, tmp_path / "p")
    content = save(make_graph(("Mul", "c", {}), vocabulary=4000, c=f32(np.nan))).read_bytes()
    (tmp_path / "p" / "onnx" / "model.onnx").write_bytes(content)
    config = (tmp_path / "p" / "config.json").read_text()
    (tmp_path / "p" / "config.json").write_text(config.replace('"onnx/model.onnx"', '"README.md"'))
    with pytest.raises(CheckpointError, match=r"not finite|of shape"):
        LookaheadPredictor.load(tmp_path / "p", backend="onnx")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_torch_runs_in_a_child_whose_parent_has_run_it_with_threads(tmp_path):
    pytest.importorskip("torch")
    code = """
import os, signal, types
import numpy as np, torch
from lookahead_router.backends.torch import TorchBackend

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1024, 1024))

    def forward(self, ids, mask):
        return types.SimpleNamespace(score_logits=(self.weight @ self.weight)[: len(ids), :3])

torch.set_num_threads(4)
backend = TorchBackend(Network())
ids = mask = np.ones((2, 3), dtype=np.int64)
backend.score_logits(ids, mask)
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    backend.score_logits(ids, mask)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    run_as_users_do(code, tmp_path)


# One session for all


def test_who_asks_for_the_same_graph_has_the_same_session(save):
    path = save(make_graph())
    first = Session.shared(path, n_threads=1)
    assert Session.shared(path, n_threads=1) is first
    assert Session.shared(path, n_threads=2) is not first
    assert OnnxBackend(path, n_threads=1)._session is first


def test_a_graph_that_changed_is_opened_anew(save):
    path = save(make_graph())
    feed = {"prompt_ids": IDS, "prompt_mask": MASK}
    first = Session.shared(path, n_threads=1)
    time.sleep(0.01)
    save(make_graph(table=np.zeros((VOCABULARY, K), dtype=np.float32)))
    second = Session.shared(path, n_threads=1)
    assert second is not first
    assert first.run(["score_logits"], feed)[0].any()
    assert not second.run(["score_logits"], feed)[0].any()


def test_passes_beside_each_other_have_a_session_of_one_thread_unless_the_file_has_changed(save):
    path = save(make_graph())
    several, changed = Session(path, n_threads=3), Session(path, n_threads=2)
    assert (several.lone.n_threads, several.lone) == (1, several.lone)
    assert several.lone.lone is several.lone
    path.write_bytes(path.read_bytes() + b"\x1a\x01x")  # the producer's version
    assert changed.lone is changed
    assert several.lone.n_threads == 1


def test_a_session_ends_with_who_holds_it(save):
    path = save(make_graph())
    alive = weakref.ref(Session.shared(path, n_threads=1))
    gc.collect()
    assert alive() is None


def test_two_routers_hold_the_weights_once():
    first, second = (LookaheadPredictor.load(n_threads=1) for _ in range(2))
    assert first.backend._session is second.backend._session


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one thread has nobody to wait for")
def test_threads_that_wait_leave_the_processor_to_others(save):
    """Idle threads of ONNX Runtime's own settings spin for tens of milliseconds after each pass."""
    big = np.random.default_rng(0).normal(size=(K, 4000)).astype(np.float32)
    session = Session(save(make_graph(("MatMul", "big", {}), ("ReduceMean", "", {"axes": [1]}), big=big)), n_threads=2)
    feed = {"prompt_ids": np.repeat(IDS, 200, axis=0), "prompt_mask": np.repeat(MASK, 200, axis=0)}
    session.run(["score_logits"], feed)
    start, n_passes = time.process_time(), 10
    for _ in range(n_passes):
        session.run(["score_logits"], feed)
    busy = time.process_time() - start
    start = time.process_time()
    for _ in range(n_passes):
        session.run(["score_logits"], feed)
        time.sleep(0.03)
    assert time.process_time() - start < 2 * busy + 0.05
