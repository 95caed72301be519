from contextlib import ExitStack

import pytest
from servers.router_server import CANDIDATES, World


@pytest.fixture(scope="session")
def _world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    with ExitStack() as stack:
        yield World(stack, folder, "--decisions", str(folder / "decisions.jsonl"), timeout=2)


@pytest.fixture
def world(_world):
    """The server that most tests share, with servers behind it that answer as they do by default."""
    _world.reset()
    # Failures of the test before must not decide this one's order.
    for name in CANDIDATES:
        assert _world.server.chat(model=name).status_code == 200
    _world.reset()
    return _world


@pytest.fixture
def make_world(tmp_path):
    """A server with options of its own."""
    with ExitStack() as stack:
        yield lambda *options, env=None, **fields: World(stack, tmp_path, *options, env=env, **fields)
