"""What `judge` writes is read by every command that measures on answers, as `fit` reads it."""

import json

import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.live.answers import Answer
from lookahead_router.predictors.fitted.rule import Rule

N = 120


def write_answers(path, *, with_splits=False):
    """`small` knows even sums for a cent, `large` all of them for ten."""
    lines = []
    for row in range(N):
        right = str(row + row % 7)
        said = {"small": right if row % 2 == 0 else "I'm sorry, I cannot say.", "large": right}
        for name, text in said.items():
            answer = Answer(
                "", f"What is {row} + {row % 7}?", name, text, cost_usd={"small": 0.01, "large": 0.1}[name],
                output_tokens=3, reference=right, split=("train", "validation", "test")[row % 3] * with_splits,
            )  # fmt: skip
            lines.append(json.dumps({key: value for key, value in answer.to_dict().items() if key != "prompt_id"}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def judged(cli, tmp_path):
    """A file that `judge` wrote; `with_splits` where prompts name theirs."""

    def make(with_splits=False):
        answers = write_answers(tmp_path / "answers.jsonl", with_splits=with_splits)
        code, _, err = cli("judge", answers, "--judge", "exact", "--output", tmp_path / "scored.jsonl")
        assert code == 0, err
        return tmp_path / "scored.jsonl"

    return make


@pytest.fixture
def rule(judged, tmp_path):
    """Folder of a predictor that is fitted on such answers."""
    Rule().fit(as_dataset(judged(), tmp_path / "rows.jsonl").filter(split="train")).save(tmp_path / "rule")
    return tmp_path / "rule"


def as_dataset(scored, path):
    """The same answers as a routing dataset, put together by hand."""
    rows = {}
    for line in scored.read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        row = rows.setdefault(answer["prompt"], {key: answer.get(key, "") for key in ("prompt", "split")})
        row.setdefault("outcomes", []).append(answer)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    return RoutingDataset.from_jsonl(path).with_splits()


COMMANDS = {
    "evaluate": ("--predictors", "rule,best-single", "--resamples", 10),
    "cascade": ("--predictors", "rule", "--resamples", 10),
}


@pytest.mark.parametrize("with_splits", [True, False])
@pytest.mark.parametrize("command", COMMANDS)
def test_scored_answers_give_the_figures_of_the_same_answers_in_a_dataset(cli, judged, tmp_path, command, with_splits):
    scored = judged(with_splits)
    as_dataset(scored, tmp_path / "rows.jsonl").to_parquet(tmp_path / "scored.parquet")
    found, expected, said = [], [], []
    for place, kept in ((scored, found), (tmp_path / "scored.parquet", expected)):
        code, out, err = cli(command, place, *COMMANDS[command], "--json")
        assert code == 0, err
        (result,) = json.loads(out)["datasets"]
        kept.append(without(result, "seconds", "fingerprint", "data_fingerprint"))
        said.append("by a hash of its text" in err)
    assert differing(found[0], expected[0]) == []
    assert said == [not with_splits, False]


def differing(one, other, at=""):
    """Where two records differ, so that a failure says it."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [place for key in one for place in differing(one[key], other[key], f"{at}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [place for k, pair in enumerate(zip(one, other, strict=True)) for place in differing(*pair, f"{at}.{k}")]
    return [] if one == other else [f"{at}: {one!r} and {other!r}"]


def without(record, *names):
    if isinstance(record, dict):
        return {key: without(value, *names) for key, value in record.items() if not any(name in key for name in names)}
    return [without(each, *names) for each in record] if isinstance(record, list) else record


def test_a_saved_router_is_measured_on_all_scored_answers_without_splits(cli, judged, rule):
    code, out, err = cli("evaluate", judged(), "--split", "all", "--router", rule, "--resamples", 10, "--json")
    assert code == 0, err
    assert "hash" not in err
    assert json.loads(out)["datasets"][0]["n_prompts"] == {"": N}


def test_a_setting_is_tuned_on_scored_answers(cli, judged, tmp_path, rule):
    dataset = as_dataset(judged(), tmp_path / "rows.jsonl")
    options = ("--router", rule, "--policy", "cost-aware", "--target-quality", 0.5, "--json")
    code, out, err = cli("tune", tmp_path / "scored.jsonl", *options)
    assert code == 0, err
    assert json.loads(out)["results"][0]["n_prompts"] == len(dataset.filter(split="validation"))


def test_answers_without_scores_say_what_to_run(cli, tmp_path):
    code, _, err = cli("evaluate", write_answers(tmp_path / "answers.jsonl"), "--predictors", "random")
    assert code == 4
    assert "lookahead-router judge" in err
