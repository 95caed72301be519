import copy
import inspect
import pickle
import re
import warnings

import pytest

from lookahead_router import errors
from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    FileError,
    HubError,
    LookaheadRouterError,
    LookaheadRouterWarning,
    MissingDependencyError,
    NoAnswerError,
    NotFittedError,
    PoolMismatchError,
    PredictionError,
    PrivacyError,
    PromptError,
    SchemaError,
    TrainingError,
    TruncatedPromptWarning,
    UnknownCandidateError,
)

SAMPLES = [
    LookaheadRouterError("something went wrong"),
    ConfigurationError("two options contradict"),
    UnknownCandidateError("lama", ["llama", "qwen"]),
    PromptError("the prompt is empty"),
    PromptError("the prompt is empty", index=3),
    PrivacyError(["IBAN", "password"]),
    PrivacyError(["IBAN"], candidate="gpt-4o"),
    DataError("no rows"),
    SchemaError("expected text"),
    SchemaError("expected text", path="a.jsonl", row=0, column="prompt"),
    PoolMismatchError(["a", "b"], ["b", "c"], where="a.parquet"),
    NotFittedError("fit it first"),
    PredictionError("scores must have the shape (1, 2), got (2,)"),
    NoAnswerError("llama"),
    TrainingError("the disk is full"),
    CheckpointError("not a saved predictor"),
    FileError("No space left on device", path="a/b"),
    HubError("no such revision", repo_id="org/name", revision="v1", status_code=404),
    HubError("cannot reach the Hub", repo_id="org/name", is_retryable=True),
    CheckpointError("not a saved predictor", location="somewhere", missing=["config.json", "pool.json"]),
    MissingDependencyError("torch", "train"),
]
CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, LookaheadRouterError | LookaheadRouterWarning)
]

each_sample = pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)


def test_every_error_class_has_a_sample_here():
    assert {type(error) for error in SAMPLES} == {c for c in CLASSES if issubclass(c, LookaheadRouterError)}


@each_sample
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_class_message_and_attributes(error, protocol):
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert vars(twin) == vars(error)


@each_sample
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_keep_message_and_attributes(error, duplicate):
    twin = duplicate(error)
    assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


def test_pickling_keeps_the_builtin_message_of_an_import_error():
    error = MissingDependencyError("torch", "train")
    assert pickle.loads(pickle.dumps(error)).msg == error.msg == str(error)


def test_pickling_keeps_notes():
    error = PromptError("the prompt is empty")
    error.add_note("while routing a batch")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while routing a batch"]


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (ConfigurationError("x"), (ValueError,)),
        (UnknownCandidateError("a", ["b"]), (ConfigurationError, ValueError, KeyError)),
        (PromptError("x"), (ValueError,)),
        (DataError("x"), (ValueError,)),
        (SchemaError("x"), (DataError, ValueError)),
        (PoolMismatchError(["a"], ["b"]), (DataError, ValueError)),
        (NotFittedError("x"), (RuntimeError,)),
        (PredictionError("x"), (RuntimeError,)),
        (NoAnswerError("a"), (RuntimeError,)),
        (TrainingError("x"), (RuntimeError,)),
        (CheckpointError("x"), (OSError,)),
        (HubError("x", repo_id="org/name"), (OSError,)),
        (MissingDependencyError("a", "b"), (ImportError,)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_are_caught_as_their_documented_bases(error, bases):
    for base in (LookaheadRouterError, *bases):
        with pytest.raises(base, match=re.escape(str(error))):
            raise error


def test_the_tree_in_the_docstring_is_the_real_one():
    line = re.compile(r"^([\s│├└─]*)(\w+(?:Error|Warning))(?: \((\w+)\))?(?:\s{2,}.*)?$")
    ancestors: dict[int, str] = {}
    drawn = set()
    for match in filter(None, map(line.match, errors.__doc__.splitlines())):
        indent, name, builtin = len(match[1]), match[2], match[3]
        ancestors = {depth: parent for depth, parent in ancestors.items() if depth < indent}
        bases = {base.__name__ for base in getattr(errors, name).__bases__}
        if ancestors:
            assert ancestors[max(ancestors)] in bases, name
        if builtin is not None:
            assert builtin in bases, name
        ancestors[indent] = name
        drawn.add(name)
    assert drawn == {cls.__name__ for cls in CLASSES}


def test_an_unknown_candidate_names_the_nearest_one():
    error = UnknownCandidateError("qwen-7", ["llama-8b", "qwen-7b"])
    assert error.name == "qwen-7"
    assert error.known == ("llama-8b", "qwen-7b")
    assert error.nearest == "qwen-7b"
    assert "Did you mean 'qwen-7b'?" in str(error)


def test_an_unknown_candidate_without_a_near_name_guesses_none():
    error = UnknownCandidateError("zzz", ["llama-8b", "qwen-7b"])
    assert error.nearest is None
    assert "Did you mean" not in str(error)
    assert "llama-8b, qwen-7b" in str(error)


def test_an_unknown_candidate_reads_like_a_sentence_not_like_a_key_error():
    text = str(UnknownCandidateError("lama", ["llama"]))
    assert text.startswith("unknown candidate 'lama'")
    assert text.endswith("?")
    assert "\\'" not in text


def test_an_unknown_candidate_takes_its_known_names_from_any_iterable():
    error = UnknownCandidateError("lama", (name for name in ["llama", "qwen"]))
    assert error.known == ("llama", "qwen")
    assert error.nearest == "llama"


def test_an_unknown_candidate_that_is_no_text_is_still_reported():
    error = UnknownCandidateError(7, ["llama"])
    assert error.nearest is None
    assert "7" in str(error)


def test_a_prompt_error_says_which_prompt_from_zero_on():
    assert str(PromptError("is empty", index=0)) == "prompt 0: is empty"
    assert str(PromptError("is empty")) == "is empty"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "bad"),
        ({"path": "a.jsonl"}, "a.jsonl: bad"),
        ({"row": 0}, "row 0: bad"),
        ({"column": "prompt"}, "column 'prompt': bad"),
        ({"path": "a.jsonl", "row": 7, "column": "id"}, "a.jsonl, row 7, column 'id': bad"),
    ],
)
def test_a_schema_error_says_where_as_far_as_known(place, text):
    error = SchemaError("bad", **place)
    assert str(error) == text
    assert (error.path, error.row, error.column) == (place.get("path"), place.get("row"), place.get("column"))


def test_a_pool_mismatch_lists_missing_and_unexpected_names():
    error = PoolMismatchError(iter(["a", "b"]), iter(["b", "c"]), where="toy.parquet")
    assert error.missing == ("a",)
    assert error.unexpected == ("c",)
    assert "toy.parquet" in str(error)
    assert "missing ['a']" in str(error)
    assert "unexpected ['c']" in str(error)


def test_a_checkpoint_error_keeps_where_and_what_is_missing():
    error = CheckpointError("incomplete", location="my/folder", missing=iter(["pool.json"]))
    assert str(error) == "my/folder: incomplete"
    assert error.missing == ("pool.json",)


def test_a_missing_dependency_gives_the_pip_line():
    error = MissingDependencyError("torch", "train")
    assert "pip install 'lookahead-router[train]'" in str(error)
    assert (error.package, error.extra) == ("torch", "train")


def test_warnings_can_be_silenced_as_user_warnings_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        warnings.warn("the middle was cut", TruncatedPromptWarning, stacklevel=1)
    assert issubclass(TruncatedPromptWarning, LookaheadRouterWarning)
