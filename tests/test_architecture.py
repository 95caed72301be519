"""The import rule of docs/development/architecture.md, over every import in the package."""

import ast
import subprocess
import sys
from pathlib import Path

import lookahead_router

PACKAGE = Path(lookahead_router.__file__).parent
LAYERS = [
    {"failures"},
    {"errors"},
    {"files", "threads", "checks", "values"},
    {"types", "prompts", "extras", "hub", "metrics", "escaping"},
    {"data", "saved", "policies", "networks", "settings", "privacy"},
    {"backends", "workhorse"},
    {"predictors"},
    {"routes", "learning"},
    {"router"},
    {"dispatch", "batch"},
    {"training", "evaluation", "live", "integrations"},
    {"server"},
    {"cli"},
    {"__main__"},
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}
TORCH_HOMES = ("networks/", "training/", "backends/torch.py", "backends/export.py")


def imports(path: Path):
    """Every imported module of a file, function-level imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "lookahead_router":
                yield from (f"lookahead_router.{alias.name}" for alias in node.names)


def files():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_a_layer():
    assert {module_of(path) for path in files()} == set(RANK)


def test_imports_point_to_the_left_and_neighbours_do_not_see_each_other():
    wrong = []
    for path in files():
        own = module_of(path)
        for name in imports(path):
            target = name.removeprefix("lookahead_router.").partition(".")[0]
            if name.startswith("lookahead_router.") and target in RANK and target != own and RANK[target] >= RANK[own]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_adapters_import_public_names_only():
    root = PACKAGE.parent / "integrations"
    paths = [p for p in sorted(root.glob("*/*/**/*.py")) if not {"tests", "examples", "benchmarks"} & set(p.parts)]
    assert len({path.relative_to(root).parts[0] for path in paths}) == 3
    public = {f"lookahead_router.{name}" for name in (*lookahead_router.__all__, "errors", "threads")}
    wrong = [
        f"{path.relative_to(root)} imports {name}"
        for path in paths
        for name in imports(path)
        if name.startswith("lookahead_router.") and name not in public
    ]
    assert wrong == []


def test_torch_enters_only_where_it_may():
    wrong = []
    for path in files():
        relative = path.relative_to(PACKAGE).as_posix()
        heavy = {name.partition(".")[0] for name in imports(path)} & {"torch", "transformers", "safetensors"}
        if heavy and not relative.startswith(TORCH_HOMES):
            wrong.append(f"{relative} imports {sorted(heavy)}")
    assert wrong == []


def test_nothing_loads_pickles_or_remote_code():
    for path in files():
        source = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in source
        assert "pickle" not in set(imports(path))


def test_what_a_forked_child_may_find_shut_is_made_anew_there():
    """Routing goes on in a child that was forked while another thread held a lock; a report does not."""
    own = ("threads.py", "backends/runtime.py", "evaluation/")
    for path in files():
        if not path.relative_to(PACKAGE).as_posix().startswith(own):
            source = path.read_text(encoding="utf-8")
            assert "threading.Lock()" not in source, f"{path}: use ProcessLock"
            assert "import cached_property" not in source, f"{path}: use computed_once"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("numpy", "torch", "transformers", "onnxruntime", "pydantic", "tokenizers", "pyarrow", "typer")
    loaded = run(f"import sys, lookahead_router; print([m for m in {heavy} if m in sys.modules])")
    assert loaded == "[]"


def test_routing_loads_no_torch():
    code = (
        "import sys; from lookahead_router import Router; Router.from_pretrained().route('hello');"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    assert run(code) == "[]"


def test_importing_the_router_loads_neither_data_nor_the_card_nor_evaluation():
    code = (
        "import sys, lookahead_router.router;"
        "print(sorted(m for m in sys.modules if m.startswith('lookahead_router.')), 'huggingface_hub' in sys.modules)"
    )
    loaded = run(code)
    for name in ("data", "saved.card", "saved.push", "evaluation", "training", "predictors.embedder", "cli"):
        assert f"'lookahead_router.{name}" not in loaded
    assert loaded.endswith("False")


def test_every_public_name_is_there():
    for name in lookahead_router.__all__:
        assert getattr(lookahead_router, name) is not None
    assert set(lookahead_router.__all__) <= set(dir(lookahead_router))


def test_a_function_stays_small_enough_to_read():
    """Docstrings apart, since every argument of a public function has a line there."""
    adapters = (PACKAGE.parent / "integrations").glob("*/l*/**/*.py")
    long = {}
    for path in (*files(), *adapters):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                is_documented = ast.get_docstring(node) is not None
                n = node.end_lineno - node.lineno + 1
                n -= first.end_lineno - first.lineno + 1 if is_documented else 0
                if n > 60:
                    long[f"{path.name}:{node.name}"] = n
    assert long == {}


def test_a_file_stays_small_enough_to_read():
    long = {str(path): n for path in files() if (n := len(path.read_text().splitlines())) > 500}
    assert long == {}
