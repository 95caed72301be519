import copy
import json
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from conftest import VOCABULARY, bert_config
from safetensors.torch import load_file, save_file
from servers.hub_server import HubServer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertModel

from lookahead_router.errors import CheckpointError, HubError, MissingDependencyError
from lookahead_router.predictors.embedder import Embedder

TEXTS = ["sum 1 2 ?", "rhyme river stone cloud ?", "a", "sum " + "7 " * 15, "漢字", "river " * 200]


@pytest.fixture
def folder(encoder_folder, tmp_path):
    """An encoder of one's own, to change."""
    return shutil.copytree(encoder_folder, tmp_path / "encoder")


def change_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def ids_of(text):
    """Frame and words, without padding; what the vocabulary lacks is [UNK]."""
    return [2, *(VOCABULARY.get(word, 1) for word in text.split()), 3]


def states(backbone_folder, ids):
    """Final states `(T, H)` of one text, by transformers."""
    encoder = BertModel.from_pretrained(backbone_folder).eval()
    with torch.inference_mode():
        return encoder(torch.tensor([ids])).last_hidden_state[0].numpy()


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("text", ["sum 1 2 ?", "rhyme river stone cloud ?", "a"])
def test_an_embedding_is_the_unit_mean_of_the_states_of_frame_and_words(embedder, backbone_folder, text):
    expected = unit(states(backbone_folder, ids_of(text)).mean(axis=0))
    np.testing.assert_allclose(embedder.embed([text])[0], expected, atol=2e-6)


def test_an_encoder_that_pools_by_its_first_token_gives_that_tokens_state(folder, backbone_folder, embedder):
    change_json(folder / "1_Pooling/config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    first = Embedder.load(folder)
    expected = unit(states(backbone_folder, ids_of("sum 1 2 ?"))[0])
    np.testing.assert_allclose(first.embed(["sum 1 2 ?"])[0], expected, atol=2e-6)
    assert first.fingerprint != embedder.fingerprint


def test_without_a_pooling_config_the_mean_is_taken(folder, embedder):
    shutil.rmtree(folder / "1_Pooling")
    assert Embedder.load(folder).fingerprint == embedder.fingerprint


@pytest.mark.parametrize(
    "modes", [{"pooling_mode_max_tokens": True}, {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}]
)
def test_another_pooling_is_refused_and_not_taken_for_a_mean(folder, modes):
    change_json(folder / "1_Pooling/config.json", **modes)
    with pytest.raises(CheckpointError, match=r"pools by .*tok"):
        Embedder.load(folder)


def test_rows_are_unit_vectors_in_the_order_of_the_texts(embedder):
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1]), vectors[::-1], atol=1e-6)


def test_a_row_depends_on_its_text_alone(embedder):
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(embedder.embed(TEXTS), alone, rtol=0, atol=1e-6)
    many = embedder.embed(TEXTS * 30)
    np.testing.assert_allclose(many, np.tile(alone, (30, 1)), rtol=0, atol=1e-6)


def test_no_texts_are_an_empty_array(embedder):
    assert embedder.embed([]).shape == (0, 32)


def test_a_text_without_tokens_has_an_embedding(folder):
    bare = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))  # without a frame
    bare.normalizer = normalizers.Replace(Regex("[^ab]"), " ")
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.save(str(folder / "tokenizer.json"))
    embedder = Embedder.load(folder)
    vectors = embedder.embed(["???", "a b"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[1:], embedder.embed(["a b"]), atol=1e-6)


def test_the_window_is_no_longer_than_the_encoders_positions_and_keeps_the_tail(embedder, backbone_folder):
    words = ["river"] * 100 + ["stone", "1", "2"] * 20
    expected = unit(states(backbone_folder, ids_of(" ".join(words[-62:]))).mean(axis=0))  # 64 less the frame
    np.testing.assert_allclose(embedder.embed([" ".join(words)])[0], expected, atol=2e-6)


def test_special_tokens_that_a_user_types_are_text(embedder):
    assert len(embedder._tokenizer.encode(["[SEP] 1"])[0][0]) > len(ids_of("x 1"))
    assert abs(embedder.embed(["1 [SEP] 2"]) - embedder.embed(["1"])).max() > 1e-3


def test_many_threads_get_the_same(embedder):
    expected = embedder.embed(TEXTS)
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(embedder.embed, [TEXTS] * 16):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


# Cache


@pytest.fixture
def cached(encoder_folder, tmp_path, monkeypatch):
    """An embedder with a cache, and the batches it had to compute."""
    computed = []
    compute = Embedder._embed
    monkeypatch.setattr(Embedder, "_embed", lambda self, texts: computed.append(list(texts)) or compute(self, texts))
    return Embedder.load(encoder_folder, cache=tmp_path / "cache"), computed


def test_texts_that_come_again_are_read_from_the_cache(cached, embedder, tmp_path):
    with_cache, computed = cached
    first = with_cache.embed(TEXTS)
    np.testing.assert_array_equal(with_cache.embed(TEXTS), first)
    assert computed == [TEXTS]
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npy"]  # whole, nothing partial beside it
    np.testing.assert_array_equal(first, embedder.embed(TEXTS))


def test_other_texts_another_order_and_another_division_of_the_same_characters_do_not_hit(cached):
    with_cache, computed = cached
    batches = [["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab"], ["abc"]]
    for batch in batches:
        with_cache.embed(batch)
    assert computed == batches


def test_another_encoder_does_not_read_what_the_first_one_kept(cached, folder):
    with_cache, computed = cached
    with_cache.embed(["a"])
    change_json(folder / "1_Pooling/config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    Embedder.load(folder, cache=with_cache.cache).embed(["a"])
    assert len(computed) == 2


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "shape", "objects"])
def test_a_damaged_cache_is_computed_anew_and_mended(cached, damage):
    with_cache, computed = cached
    expected = with_cache.embed(TEXTS)
    (path,) = with_cache.cache.iterdir()
    content = path.read_bytes()
    if damage == "shape":
        np.save(path, expected[:-1])
    elif damage == "objects":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes({"truncated": content[:-9], "empty": b"", "text": b"no array"}[damage])
    np.testing.assert_array_equal(with_cache.embed(TEXTS), expected)
    np.testing.assert_array_equal(with_cache.embed(TEXTS), expected)
    assert len(computed) == 2


# Copies


def test_a_pickle_loads_the_encoder_again_and_a_deep_copy_is_the_same(embedder):
    again = pickle.loads(pickle.dumps(embedder))
    assert again.fingerprint == embedder.fingerprint
    np.testing.assert_array_equal(again.embed(TEXTS), embedder.embed(TEXTS))
    assert copy.deepcopy(embedder) is embedder
    assert embedder.location in repr(embedder)


def test_a_pickle_of_an_encoder_that_changed_is_an_error(folder):
    pickled = pickle.dumps(Embedder.load(folder))
    change_json(folder / "1_Pooling/config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    with pytest.raises(CheckpointError, match="changed since it was pickled"):
        pickle.loads(pickled)


# Where it comes from


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A cache of exported graphs of one's own."""
    import huggingface_hub.utils._cache_assets as module

    monkeypatch.setattr(module, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets"


def test_a_folder_without_a_graph_is_exported_once(assets, folder, backbone_folder, embedder, monkeypatch):
    shutil.rmtree(folder / "onnx")
    shutil.copyfile(backbone_folder / "model.safetensors", folder / "model.safetensors")
    exported = Embedder.load(folder)
    np.testing.assert_allclose(exported.embed(TEXTS), embedder.embed(TEXTS), atol=1e-6)
    assert len(list(assets.rglob("model.onnx"))) == 1
    monkeypatch.setattr("lookahead_router.backends.export.export_encoder", None)
    assert Embedder.load(folder).fingerprint == exported.fingerprint


def test_exporting_needs_torch_and_says_so(assets, folder, backbone_folder, monkeypatch):
    shutil.rmtree(folder / "onnx")
    shutil.copyfile(backbone_folder / "model.safetensors", folder / "model.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"torch is not installed; run: pip install .*\[train\]"):
        Embedder.load(folder)


def test_weights_that_are_no_encoder_cannot_be_exported(assets, folder):
    shutil.rmtree(folder / "onnx")
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot load the encoder"):
        Embedder.load(folder)


def test_weights_that_lack_a_layer_are_not_filled_with_random_ones(assets, folder, backbone_folder):
    shutil.rmtree(folder / "onnx")
    tensors = load_file(backbone_folder / "model.safetensors")
    lacking = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.layer.1.")}
    save_file(lacking, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks encoder\.layer\.1\."):
        Embedder.load(folder)


def test_a_graph_at_the_root_is_found(folder, embedder):
    (folder / "onnx" / "model.onnx").rename(folder / "model.onnx")
    assert Embedder.load(folder).fingerprint == embedder.fingerprint


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError) as caught:
        Embedder.load(folder)
    assert caught.value.missing == (name,)
    assert caught.value.location == str(folder)


def test_neither_graph_nor_weights_is_an_error(folder):
    shutil.rmtree(folder / "onnx")
    with pytest.raises(CheckpointError, match="neither onnx/model"):
        Embedder.load(folder)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="no sentence encoder"):
        Embedder.load(tmp_path / "absent")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "1_Pooling/config.json", "onnx/model.onnx"])
@pytest.mark.parametrize("content", [b"{", b"[1]"])
def test_a_damaged_file_is_an_error(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError):
        Embedder.load(folder)


def test_a_graph_that_is_no_encoder_is_an_error(folder):
    value = onnx.helper.make_tensor_value_info
    ids, out = value("input_ids", onnx.TensorProto.INT64, [1, 2]), value("out", onnx.TensorProto.INT64, [1, 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["input_ids"], ["out"])], "g", [ids], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "onnx" / "model.onnx")
    with pytest.raises(CheckpointError, match="is no encoder"):
        Embedder.load(folder)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    with HubServer() as server:
        options = {"endpoint": server.endpoint, "cache_dir": tmp_path / "hub"}
        monkeypatch.setattr(huggingface_hub, "snapshot_download", partial(huggingface_hub.snapshot_download, **options))
        yield server


local_hub = (
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
)


def marked(test):
    for mark in local_hub:
        test = mark(test)
    return test


@marked
def test_a_repository_of_the_hub_embeds_as_its_folder_does(hub, encoder_folder, embedder):
    hub.add("org/encoder", encoder_folder)
    files = hub.repositories["org/encoder"].commits[hub.repositories["org/encoder"].refs["main"]]
    files.update(dict.fromkeys(("pytorch_model.bin", "modeling.py", "model.safetensors"), b"never"))
    pulled = Embedder.load("org/encoder")
    assert pulled.location == "org/encoder"
    np.testing.assert_array_equal(pulled.embed(TEXTS), embedder.embed(TEXTS))
    assert set(hub.fetched()) == {"config.json", "tokenizer.json", "1_Pooling/config.json", "onnx/model.onnx"}


@marked
def test_a_repository_without_a_graph_is_exported(hub, assets, folder, backbone_folder, embedder):
    shutil.rmtree(folder / "onnx")
    tensors = load_file(backbone_folder / "model.safetensors")
    needed = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    save_file(needed, folder / "model.safetensors", metadata={"format": "pt"})
    hub.add("org/weights", folder)
    np.testing.assert_allclose(Embedder.load("org/weights").embed(TEXTS), embedder.embed(TEXTS), atol=1e-6)


@marked
def test_a_repository_that_is_not_there_is_a_hub_error(hub):
    with pytest.raises(HubError, match="no such folder here, and no such repository"):
        Embedder.load("org/absent")


def test_the_tiny_encoder_has_fewer_positions_than_the_default_window():
    assert bert_config().max_position_embeddings < 256
