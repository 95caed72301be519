"""A saved predictor to change, a stand-in of the Hub, and how to reach it."""

import json
import pickle

import pytest
from servers.hub_server import HubServer

from lookahead_router import LookaheadPredictor
from lookahead_router.saved.folder import PredictorFolder


@pytest.fixture(autouse=True)
def quiet_hub(monkeypatch):
    """No waiting between retries, no bars, and the protocol that the stand-in speaks."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)


@pytest.fixture
def folder(predictor_folder, tmp_path) -> PredictorFolder:
    """A saved predictor of one's own, to change."""
    LookaheadPredictor.load(predictor_folder).save(tmp_path / "saved")
    return PredictorFolder(tmp_path / "saved")


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def at(hub, tmp_path):
    """How to reach the stand-in, with a cache of one's own."""
    return {"endpoint": hub.endpoint, "cache_dir": tmp_path / "cache"}


@pytest.fixture
def damage():
    """Damages a folder in a named way, and says what the error must say."""
    return _damage


def _damage(folder: PredictorFolder, kind: str) -> str:
    """Damages a folder; what the error must say."""
    if kind == "truncated":
        folder.weights.write_bytes(folder.weights.read_bytes()[:-100])
        return "model.safetensors differs from what config.json recorded"
    if kind == "pickle":
        folder.weights.write_bytes(pickle.dumps({"weight": [1.0]}))
        return "model.safetensors differs"
    if kind == "swapped pool":
        record = json.loads(folder.pool.read_text())
        folder.pool.write_text(json.dumps({**record, "candidates": record["candidates"][::-1]}))
        return "pool.json differs"
    if kind == "foreign config":
        folder.config.write_text(json.dumps({"architectures": ["BertModel"], "model_type": "bert"}))
        return "not a lookahead-router predictor"
    raise AssertionError(kind)
