import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lookahead_router.errors import CheckpointError
from lookahead_router.saved import folder as layout
from lookahead_router.saved.folder import FORMAT_VERSION, FileRecord, PredictorConfig, PredictorFolder, record_file
from lookahead_router.types import CandidatePool

POOL = CandidatePool([{"name": "a", "input_usd_per_million_tokens": 1.5, "capabilities": ["tools"]}, "ü 😀"])
CONFIG = PredictorConfig(
    format_version=FORMAT_VERSION, name="toy", library_version="0.1.0", network={"n_candidates": 2, "n_slots": 4}
)
PARTS = {
    "tokenizer.json": b'{"model": {}}',
    "model.safetensors": b"weights",
    "onnx/model.onnx": b"graph",
    "onnx/model_int8.onnx": b"small graph",
    "onnx/static.onnx": b"vectors",
    "calibration.json": b"{}",
    "README.md": b"# card",
    "training.json": b'{"seed": 0}',
    "evaluation.json": b"{}",
    "profiles.npz": b"PK",
    "catalogue.json": b"{}",
    "card.json": b"{}",
    ".eval_results/lookahead-router.yaml": b"[]",
}
ABOUT = {"README.md", "evaluation.json", "card.json", ".eval_results/lookahead-router.yaml"}
"""What the predictor is not made of."""


@pytest.fixture
def folder(tmp_path) -> PredictorFolder:
    """A complete folder, as it is saved."""
    folder = PredictorFolder(tmp_path / "predictor")
    for name, content in PARTS.items():
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.write(CONFIG, POOL)
    return folder


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# Round trip


def test_config_and_pool_are_read_as_written(folder):
    config = folder.read_config()
    assert replace(config, files={}) == CONFIG
    assert folder.read_pool() == POOL
    folder.check()


def test_the_names_in_the_docstring_are_where_the_parts_lie(folder):
    documented = {line.split()[0] for line in layout.__doc__.splitlines() if line.startswith("    ")}
    found = {path.relative_to(folder.path).as_posix() for path in folder.files()}
    assert found == documented == {"config.json", "pool.json", *PARTS}


def test_files_lists_only_what_is_there(folder):
    folder.card.unlink()
    folder.onnx.unlink()
    (folder.path / "notes.txt").touch()
    names = {path.name for path in folder.files()}
    assert "README.md" not in names
    assert "model.onnx" not in names
    assert "notes.txt" not in names
    assert len(names) == len(PARTS)


def test_the_config_records_size_and_hash_of_every_file_that_makes_the_predictor(folder):
    files = folder.read_config().files
    assert set(files) == {"pool.json", *PARTS} - ABOUT
    content = PARTS["onnx/model.onnx"]
    assert files["onnx/model.onnx"] == FileRecord(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def test_writing_again_records_the_files_as_they_are_now(folder):
    folder.onnx.write_bytes(b"another graph")
    folder.weights.unlink()
    folder.write(folder.read_config(), POOL)
    config = folder.read_config()
    assert "model.safetensors" not in config.files
    folder.verify(config, [folder.onnx, folder.pool])


def test_json_is_written_as_readable_utf8_with_a_last_newline(folder):
    text = folder.pool.read_bytes().decode("utf-8")
    assert "ü 😀" in text
    assert text.endswith("}\n")
    assert text.count("\n") > 5


def test_a_record_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    layout.write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        layout.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


# Missing parts


@pytest.mark.parametrize("name", ["config.json", "pool.json", "tokenizer.json"])
def test_a_missing_part_is_listed(folder, name):
    (folder.path / name).unlink()
    with pytest.raises(CheckpointError, match=f"not a saved predictor: missing {name}$") as caught:
        folder.check()
    assert caught.value.missing == (name,)
    assert caught.value.location == str(folder.path)


def test_all_missing_parts_are_listed_at_once(tmp_path):
    with pytest.raises(CheckpointError, match=r"missing config\.json, pool\.json, tokenizer\.json, model") as caught:
        PredictorFolder(tmp_path).check()
    assert len(caught.value.missing) == 4


@pytest.mark.parametrize("kept", ["weights", "onnx", "onnx_int8", "static"])
def test_one_file_of_weights_is_enough(folder, kept):
    for name in {"weights", "onnx", "onnx_int8", "static"} - {kept}:
        getattr(folder, name).unlink()
    folder.check()
    getattr(folder, kept).unlink()
    with pytest.raises(CheckpointError, match=r"missing model\.safetensors or onnx/model\.onnx or"):
        folder.check()


@pytest.mark.parametrize("name", ["calibration", "card", "training"])
def test_a_folder_without_the_optional_parts_is_complete(folder, name):
    getattr(folder, name).unlink()
    folder.check()


def test_a_folder_in_the_place_of_a_file_counts_as_missing(folder):
    folder.tokenizer.unlink()
    folder.tokenizer.mkdir()
    with pytest.raises(CheckpointError, match=r"missing tokenizer\.json"):
        folder.check()


def test_a_path_that_is_no_folder_is_said_to_be_none(folder):
    for path, what in ((folder.path / "absent", "no such folder"), (folder.config, "it is a file, and no folder")):
        with pytest.raises(CheckpointError, match=what) as caught:
            PredictorFolder(path).check()
        assert caught.value.location == str(path)


# config.json


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"architectures": ["BertModel"], "hidden_size": 384, "transformers_version": "5.0"},
        {"format_version": None},
        {"format_version": "1"},
        {"format_version": 1.5},
        {"format_version": [1]},
    ],
)
def test_the_config_of_another_library_is_recognised(folder, foreign):
    folder.config.write_text(json.dumps(foreign))
    with pytest.raises(CheckpointError, match="not a lookahead-router predictor"):
        folder.read_config()


def test_a_newer_format_asks_for_an_upgrade(folder):
    edit(folder.config, format_version=FORMAT_VERSION + 1, something_new=True)
    with pytest.raises(CheckpointError, match="upgrade lookahead-router"):
        folder.read_config()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"predictor": "knn"}, "predictor"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"library_version": None}, "library_version"),
        ({"network": []}, "network"),
        ({"network": None}, "network"),
        ({"something_new": True}, "something_new"),
        ({"files": ["pool.json"]}, "files"),
        ({"files": {"../pool.json": {"size_bytes": 1, "sha256": "0" * 64}}}, "files"),
        ({"files": {"/etc/passwd": {"size_bytes": 1, "sha256": "0" * 64}}}, "files"),
        ({"files": {"pool.json": {"size_bytes": -1, "sha256": "0" * 64}}}, "files.pool.json.size_bytes"),
        ({"files": {"pool.json": {"size_bytes": 1, "sha256": "0" * 63}}}, "files.pool.json.sha256"),
        ({"files": {"pool.json": {"size_bytes": 1, "sha256": "Z" * 64}}}, "files.pool.json.sha256"),
        ({"files": {"pool.json": {"size_bytes": 1}}}, "files.pool.json.sha256"),
    ],
)
def test_a_malformed_config_names_the_field(folder, changes, place):
    edit(folder.config, **changes)
    with pytest.raises(CheckpointError, match=f"config.json: {place}"):
        folder.read_config()


@pytest.mark.parametrize("field", ["name", "library_version", "network"])
def test_a_config_without_a_needed_field_names_it(folder, field):
    record = json.loads(folder.config.read_text())
    del record[field]
    folder.config.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=f"config.json: {field}"):
        folder.read_config()


BROKEN = {
    "empty": b"",
    "cut": b'{"format_version": 1, "na',
    "not utf-8": b'{"name": "\xff"}',
    "python": b"{'name': 1}",
    "nested lists": b"[" * 200_000,
    "nested objects": b'{"network":' * 200_000,
    "huge number": b'{"format_version": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["config", "pool"])
def test_a_file_that_is_not_json_is_named(folder, name, content):
    getattr(folder, name).write_bytes(content)
    read = {"config": folder.read_config, "pool": folder.read_pool}[name]
    with pytest.raises(CheckpointError, match=f"{name}.json is not readable JSON") as caught:
        read()
    assert caught.value.location == str(folder.path)


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "1", "true"])
@pytest.mark.parametrize("name", ["config", "pool"])
def test_json_that_is_no_object_is_named(folder, name, content):
    getattr(folder, name).write_text(content)
    read = {"config": folder.read_config, "pool": folder.read_pool}[name]
    with pytest.raises(CheckpointError, match=f"{name}.json holds no JSON object"):
        read()


@pytest.mark.parametrize("name", ["config", "pool"])
def test_a_file_that_vanished_is_named(folder, name):
    getattr(folder, name).unlink()
    read = {"config": folder.read_config, "pool": folder.read_pool}[name]
    with pytest.raises(CheckpointError, match=f"{name}.json is not readable"):
        read()


# pool.json


@pytest.mark.parametrize("record", [{}, {"candidates": None}, {"candidates": "ab"}, {"candidates": {"name": "a"}}])
def test_a_pool_without_a_list_of_candidates_is_refused(folder, record):
    folder.pool.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"pool\.json holds no list of candidates"):
        folder.read_pool()


@pytest.mark.parametrize(
    "candidates",
    [
        [],
        [5],
        [None],
        [["a"]],
        [{}],
        [{"name": ""}],
        [{"name": " a"}],
        [{"name": "a"}, {"name": "a"}],
        [{"name": "a", "price": 3}],
        [{"name": "a", "self": 3}],
        [{"name": "a", "input_usd_per_million_tokens": -1}],
        [{"name": "a", "input_usd_per_million_tokens": float("nan")}],
        [{"name": "a", "context_window_tokens": "many"}],
    ],
)
def test_a_malformed_pool_is_refused(folder, candidates):
    folder.pool.write_text(json.dumps({"candidates": candidates}))
    with pytest.raises(CheckpointError, match=r"pool\.json(: | is not readable)") as caught:
        folder.read_pool()
    assert caught.value.location == str(folder.path)


# Hashes


def test_an_untouched_folder_verifies(folder):
    folder.verify(folder.read_config(), folder.files())


@pytest.mark.parametrize("name", ["pool.json", *(name for name in PARTS if name not in ABOUT)])
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty"])
def test_a_damaged_file_is_found_by_its_hash(folder, name, damage):
    path, config = folder.path / name, folder.read_config()
    content = path.read_bytes()
    damaged = {
        "flip": bytes([content[0] ^ 1]) + content[1:],
        "cut": content[:-1],
        "grow": content + b"\0",
        "empty": b"",
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=f"{name} differs from what config.json recorded"):
        folder.verify(config, [path])


def test_swapped_files_are_found_by_their_hashes(folder):
    config = folder.read_config()
    first, second = folder.onnx.read_bytes(), folder.onnx_int8.read_bytes()
    folder.onnx.write_bytes(second)
    folder.onnx_int8.write_bytes(first)
    for path in (folder.onnx, folder.onnx_int8):
        with pytest.raises(CheckpointError, match="damaged or swapped"):
            folder.verify(config, [path])


def test_only_the_files_asked_for_are_compared(folder):
    config = folder.read_config()
    folder.weights.write_bytes(b"damaged")
    folder.verify(config, [folder.onnx, folder.pool, folder.tokenizer])


def test_the_card_may_be_edited(folder):
    config = folder.read_config()
    folder.card.write_text("a better card")
    folder.verify(config, folder.files())


def test_a_file_that_was_never_recorded_is_not_compared(folder):
    config = replace(folder.read_config(), files={})
    folder.onnx.write_bytes(b"changed by hand")
    folder.verify(config, [folder.onnx])


def test_a_file_is_hashed_as_a_whole(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert record_file(tmp_path / "a").sha256 == hashlib.sha256(content).hexdigest()
    assert record_file(tmp_path / "a").size_bytes == len(content)


# Revision


def test_the_revision_is_twelve_hex_digits_that_stay(folder):
    revision = folder.revision(folder.read_config())
    assert len(revision) == 12
    assert int(revision, 16) >= 0
    folder.write(CONFIG, POOL)
    assert folder.revision(folder.read_config()) == revision


@pytest.mark.parametrize("name", ["tokenizer", "weights", "onnx", "onnx_int8"])
def test_other_weights_or_tokenizers_have_another_revision(folder, name):
    before = folder.revision(folder.read_config())
    getattr(folder, name).write_bytes(b"other")
    folder.write(CONFIG, POOL)
    assert folder.revision(folder.read_config()) != before


def test_another_pool_or_network_has_another_revision(folder):
    revisions = {folder.revision(folder.read_config())}
    folder.write(CONFIG, CandidatePool(["b", "a"]))
    revisions.add(folder.revision(folder.read_config()))
    folder.write(replace(CONFIG, network={"n_slots": 8}), POOL)
    revisions.add(folder.revision(folder.read_config()))
    assert len(revisions) == 3


def test_another_card_has_the_same_revision(folder):
    before = folder.revision(folder.read_config())
    folder.card.write_text("a better card")
    folder.write(CONFIG, POOL)
    assert folder.revision(folder.read_config()) == before


def test_a_recorded_file_that_is_gone_is_missing(folder):
    config = folder.read_config()
    folder.calibration.unlink(missing_ok=True)
    recorded = {**config.files, "calibration.json": config.files["pool.json"]}
    config = replace(config, files=recorded)
    with pytest.raises(CheckpointError, match=r"records calibration\.json, which is gone") as caught:
        folder.verify(config, [folder.pool, folder.calibration])
    assert caught.value.missing == ("calibration.json",)


def test_messages_call_a_folder_by_its_name(folder):
    named = PredictorFolder(folder.path, name="org/name@0123")
    folder.config.write_text("{}")
    with pytest.raises(CheckpointError, match=r"^org/name@0123: "):
        named.read_config()
    folder.pool.unlink()
    with pytest.raises(CheckpointError, match=r"^org/name@0123: "):
        named.check()


@pytest.mark.parametrize("name", ["onnx", ".eval_results"])
def test_a_folder_in_it_that_is_a_link_to_nothing_is_refused(folder, name):
    for path in (folder.path / name).glob("*"):
        path.unlink()
    (folder.path / name).rmdir()
    (folder.path / name).symlink_to("nothing")  # within the folder
    with pytest.raises(CheckpointError, match="leads nowhere"):
        folder.check(needs_weights=False)


@pytest.mark.parametrize("name", ["onnx", ".eval_results"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_in_it_that_is_a_link_out_is_refused_even_if_empty(folder, tmp_path, name, is_there):
    if is_there:
        (tmp_path / "elsewhere").mkdir()
    for path in (folder.path / name).glob("*"):
        path.unlink()
    (folder.path / name).rmdir()
    (folder.path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="a link that leaves the folder"):
        folder.check()
