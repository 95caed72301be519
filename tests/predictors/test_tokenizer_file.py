"""Tokenizer files of whatever origin."""

import base64
import json

import pytest
from conftest import make_tokenizer
from tokenizers import Tokenizer

from lookahead_router.errors import CheckpointError
from lookahead_router.predictors.tokenizer_file import read_tokenizer, tokenizer_border


@pytest.fixture
def reading(tmp_path):
    """Reads a tokenizer file with some of its parts changed."""

    def read(**changes) -> Tokenizer:
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps({**json.loads(make_tokenizer().to_str()), **changes}))
        return read_tokenizer(path)

    return read


def test_a_saved_tokenizer_is_read_again(reading):
    assert reading().encode("river 1 2").ids == make_tokenizer().encode("river 1 2").ids


@pytest.mark.parametrize("content", ["", "{}", "[]", "not json", '{"version": "1.0"}', "[" * 100_000, "\xff"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a tokenizer file") as caught:
        read_tokenizer(path)
    assert caught.value.location == str(tmp_path)


def test_a_tokenizer_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a tokenizer file"):
        read_tokenizer(tmp_path / "tokenizer.json")


def replace(content: str, **pattern: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*parts: dict) -> dict:
    return {"type": "Sequence", "normalizers": list(parts)}


@pytest.mark.parametrize(
    "normalizer",
    [
        replace("a" * 1000, String="a"),
        replace("a" * 1000, Regex="."),
        sequence(*[replace("ab", Regex=".")] * 24),
        sequence(sequence(*[replace("a" * 30, String="a")] * 2), {"type": "Lowercase"}),
        {"type": "Prepend", "prepend": "a" * 1000},
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\xff\xff\xff\xff" + bytes(64)).decode()},
    ],
)
def test_a_tokenizer_that_blows_prompts_up_is_refused(reading, normalizer):
    with pytest.raises(CheckpointError, match="makes more than 64 characters of one"):
        reading(normalizer=normalizer)


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        {"type": "Lowercase"},
        sequence({"type": "Prepend", "prepend": "▁"}, replace("▁", String=" ")),
        sequence(replace('"', String="``"), replace('"', String="''"), {"type": "NFKD"}, replace(" ", Regex=" {2,}")),
        replace("a" * 100, String="a" * 50),
        sequence(),
    ],
)
def test_normalizers_as_they_are_used_are_read(reading, normalizer):
    assert reading(normalizer=normalizer).encode("river").ids


def test_dropout_of_training_is_off(tmp_path):
    model = {"type": "BPE", "vocab": {"a": 0, "aa": 1, "aaaa": 2}, "merges": ["a a", "aa aa"], "dropout": 0.9}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    tokenizer = read_tokenizer(path)
    assert {tuple(tokenizer.encode("aaaaaaaa").ids) for _ in range(20)} == {(2, 2)}


class PanicException(BaseException):
    """As pyo3's, which no module offers."""


def test_a_panic_is_a_checkpoint_error_and_quotes_nothing():
    with (
        pytest.raises(CheckpointError, match="somewhere: it failed: it panicked") as caught,
        tokenizer_border("it failed", "somewhere"),
    ):
        raise PanicException("SECRET")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_passes(error):
    with pytest.raises(error), tokenizer_border("it failed", "somewhere"):
        raise error
