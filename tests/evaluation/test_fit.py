"""From scored answers to a router: what is chosen, what is refused, and what is written."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Candidate, Router, RoutingDataset, fit
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError, DataError, UnknownCandidateError
from lookahead_router.evaluation.fit import BEST_SINGLE
from lookahead_router.policies import BestQuality, KeepQuality
from lookahead_router.saved.find import EMBEDDED

WORDS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return Router.from_pretrained(write_open_folder(tmp_path_factory.mktemp("open") / "open-toy"))


def prompts(n: int = 80) -> list[str]:
    """All different; those of an even number are about `one`, the others about `two`."""
    return [f"{WORDS[row % 2]} " * 4 + f"{WORDS[2 + row // 2 % 2]} {row} {row * row}" for row in range(n)]


def near_duplicates(n: int) -> np.ndarray:
    return np.array([" ".join(f"word{k}" for k in range(40)) + f" {row}" for row in range(n)], dtype=object)


def dataset(n: int = 80, *, cheap_is_enough: bool = True, usd=(0.01, 0.001), seed: int = 0) -> RoutingDataset:
    """`strong` answers well always; `small` where the prompt is about `one`, or by chance."""
    generator = np.random.default_rng(seed)
    examples = []
    for row, prompt in enumerate(prompts(n)):
        is_easy = row % 2 == 0 if cheap_is_enough else generator.random() < 0.5
        scores = {"strong": float(row % 20 != 7), "small": float(is_easy)}
        outcomes = {
            name: Outcome("answer", score, cost, 100) for (name, score), cost in zip(scores.items(), usd, strict=True)
        }
        examples.append(RoutingExample(prompt, outcomes))
    return RoutingDataset.from_examples(examples)


@pytest.fixture(scope="module")
def result(start):
    return fit(dataset(), start=start, n_resamples=200)


def test_what_a_cheap_candidate_can_is_sent_to_it_and_the_dollars_are_told(result):
    assert result.is_recommended
    assert result.best_single == "strong"
    assert 0.3 < result.setting.saved.low <= result.setting.saved.value <= result.setting.saved.high < 0.6
    assert result.setting.score.value >= result.best_single_score
    assert result.router.route("one one one one three").name == "small"
    assert result.router.route("two two two two three").name == "strong"
    assert "saved" in result.verdict


def test_saved_and_loaded_it_decides_alike(result, tmp_path):
    result.save(tmp_path / "mine")
    quality = result.setting.quality
    loaded = Router.from_pretrained(tmp_path / "mine", quality=quality)
    np.testing.assert_allclose(loaded.predict(prompts(6)).scores, result.router.predict(prompts(6)).scores, atol=1e-12)
    assert [each.name for each in loaded.route_batch(prompts(6))] == [
        each.name for each in result.router.route_batch(prompts(6))
    ]
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "saved" in card
    assert prompts(1)[0] not in card
    result.save(tmp_path / "mine")  # again, over itself


def test_its_card_asks_for_the_policy_that_was_measured(start, tmp_path):
    made = fit(dataset(), start=start, predictors=["profiles"], n_resamples=50)
    made.save(tmp_path / "share")
    assert f"quality={made.setting.quality:g})" in (tmp_path / "share" / "README.md").read_text()
    dataclasses.replace(made, setting=dataclasses.replace(made.setting, quality=None)).save(tmp_path / "best")
    assert '"FOLDER", policy=BestQuality())' in (tmp_path / "best" / "README.md").read_text()


@pytest.mark.parametrize("kind", ["knn", "classifier", "rule"])
def test_a_fitted_predictor_that_is_chosen_is_saved_with_its_network_and_needs_no_hub(start, tmp_path, kind):
    made = fit(dataset(), start=start, predictors=[kind], n_resamples=50)
    assert made.chosen in (kind, BEST_SINGLE)
    made.save(tmp_path / "mine")
    loaded = Router.from_pretrained(tmp_path / "mine")
    np.testing.assert_array_equal(loaded.predict(prompts(6)).scores, made.router.predict(prompts(6)).scores)
    loaded.save(tmp_path / "copy")
    assert Router.from_pretrained(tmp_path / "copy").predictor.revision == loaded.predictor.revision
    made.save(tmp_path / "mine")


def test_a_folder_with_something_else_beside_the_network_is_not_replaced(start, tmp_path):
    made = fit(dataset(), start=start, predictors=["knn"], n_resamples=50)
    made.save(tmp_path / "mine")
    (tmp_path / "mine" / "network" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="holds more"):
        made.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "network" / "thesis.txt").read_text() == "precious"


def test_what_does_not_beat_the_best_single_candidate_is_refused_and_said(start, tmp_path):
    made = fit(dataset(cheap_is_enough=False), start=start, n_resamples=200)
    assert not made.is_recommended
    assert made.chosen == BEST_SINGLE
    assert "Routing did not beat strong" in made.verdict
    assert {made.router.route(prompt).name for prompt in prompts(10)} == {"strong"}
    made.save(tmp_path / "mine")
    assert Router.from_pretrained(tmp_path / "mine").route("one").name == "strong"
    assert "Routing did not beat strong" in (tmp_path / "mine" / "README.md").read_text()


def test_without_prices_only_a_better_score_counts(start):
    rows = dataset()
    made = fit(replace(rows, costs_usd=np.full(rows.scores.shape, np.nan)), start=start, n_resamples=100)
    assert not made.is_recommended  # the strong one answers all that the small one can
    assert [each.quality for each in made.settings] == [None]
    assert made.settings[0].saved is None
    assert any("no price of strong, small" in note for note in made.notes)


def test_a_router_of_specialists_beats_the_best_single_by_quality_alone(start):
    rows = dataset()
    about_one = np.arange(len(rows)) % 2 == 0
    scores = np.stack([about_one, ~about_one], axis=1).astype(float)
    scores[::10] = 1 - scores[::10]
    made = fit(replace(rows, scores=scores, costs_usd=np.full(scores.shape, np.nan)), start=start, n_resamples=200)
    assert made.is_recommended
    assert isinstance(made.router.policy, BestQuality)
    assert made.setting.gained.low > 0


def test_prices_given_for_candidates_are_those_of_the_router(start):
    rows = dataset()
    bare = replace(rows, costs_usd=np.full(rows.scores.shape, np.nan))
    pool = [Candidate(name="small", usd_per_call=0.0), Candidate(name="strong", usd_per_call=0.5)]
    made = fit(bare, candidates=pool, start=start, n_resamples=100)
    assert made.router.pool["strong"].usd_per_call == 0.5
    assert made.best_single_usd == 0.5
    assert made.setting.saved.value > 0.3


def test_a_lower_quality_saves_no_less(start, result):
    less = fit(dataset(), start=start, quality=0.8, n_resamples=100)
    assert less.setting.saved.value >= result.setting.saved.value
    assert less.setting.score.value >= 0.8 * less.best_single_score


def test_the_same_answers_give_the_same_router(start, result):
    again = fit(dataset(), start=start, n_resamples=200)
    assert again.chosen == result.chosen
    assert again.errors == result.errors
    np.testing.assert_array_equal(again.router.predict(prompts(5)).scores, result.router.predict(prompts(5)).scores)


def test_the_order_of_the_answers_decides_nothing(start, result):
    turned = dataset().select(np.random.default_rng(3).permutation(80))
    again = fit(turned, start=start, n_resamples=200)
    assert (again.chosen, again.setting) == (result.chosen, result.setting)


def test_answers_in_long_form_and_for_a_part_of_the_prompts_are_taken(start):
    rows = dataset()
    scores = rows.scores.copy()
    scores[:20, 1] = np.nan
    made = fit(OutcomeTable.from_dataset(replace(rows, scores=scores)), start=start, n_resamples=50)
    assert (made.n_prompts, made.n_compared) == (80, 60)


def test_near_duplicates_are_never_on_both_sides_of_a_fold(start, monkeypatch):
    from lookahead_router.evaluation import fit as module

    seen = []
    monkeypatch.setattr(module, "folds_of", lambda *given: seen.append((given[0], found := real(*given))) or found)
    real = __import__("lookahead_router.data.duplicates", fromlist=["folds_of"]).folds_of
    long = " ".join(f"two{k}" for k in range(40))
    rows = dataset()
    texts = rows.prompts.copy()
    texts[:30] = [f"{long} {row}" for row in range(30)]
    fit(replace(rows, prompts=texts), start=start, predictors=["profiles"], n_resamples=20)
    [(asked, folds)] = seen
    alike = np.array([text.startswith(long) for text in asked])
    assert alike.sum() == 30
    assert len(set(folds[alike])) == 1
    assert len(set(folds)) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.select(np.arange(10)), "10 of 10 prompts have a score of every candidate"),
        (lambda rows: replace(rows, scores=np.ones_like(rows.scores)), "all 160 scores are 1"),
        (lambda rows: replace(rows, scores=np.repeat(rows.scores[:, 1:], 2, axis=1)), "score alike"),
        (lambda rows: rows.with_candidates(["strong"]), "strong alone"),
        (lambda rows: replace(rows, prompts=near_duplicates(len(rows))), "near-duplicates of 1 only"),
        (lambda rows: replace(rows, scores=100 * rows.scores), "scale them first"),
        (lambda rows: replace(rows, scores=rows.scores * [1, np.nan]), "no prompt has a score of small"),
    ],
)
def test_data_that_nothing_can_be_chosen_by_is_refused_with_advice(start, change, message):
    with pytest.raises(DataError, match=message):
        fit(change(dataset()), start=start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predictors": ["astrology"]}, "unknown kind"),
        ({"predictors": "knn"}, "list of kinds"),
        ({"predictors": ["best-single"]}, "reads prompts"),
        ({"quality": 0}, r"share in \(0, 1\]"),
        ({"quality": 95}, r"share in \(0, 1\]"),
        ({"quality": float("nan")}, r"share in \(0, 1\]"),
        ({"n_folds": 1}, "at least 2"),
        ({"start": Router.from_pretrained(EMBEDDED)}, "for any pool"),
    ],
)
def test_options_out_of_their_range_are_refused(start, options, message):
    with pytest.raises(ConfigurationError, match=message):
        fit(dataset(), **{"start": start, **options})


def test_a_candidate_without_answers_is_refused(start):
    with pytest.raises(UnknownCandidateError, match="stranger"):
        fit(dataset(), start=start, candidates=["strong", "stranger"])


def test_the_report_is_one_page_with_the_curve_and_holds_no_prompt(result, tmp_path):
    result.write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "What this would have saved on your prompts" in page
    assert "data:image/svg+xml" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["chosen"] == result.chosen
    assert isinstance(result.router.policy, KeepQuality | BestQuality)
    for text in (page, json.dumps(record)):
        assert prompts(3)[2] not in text


def with_passages(n: int = 60) -> RoutingDataset:
    """Every prompt without a passage, which `knows` can answer, and with one, which `reads` can."""
    rows = []
    for prompt in prompts(n):
        for passages in ((), (f"three three three {prompt}",)):
            right = {"knows": not passages, "reads": bool(passages)}
            rows.append(
                RoutingExample(
                    prompt, {name: Outcome("a", float(is_right)) for name, is_right in right.items()}, context=passages
                )
            )
    return RoutingDataset.from_examples(rows)  # fmt: skip


def test_documents_is_tried_where_prompts_were_answered_with_passages_and_without(start):
    both = with_passages()
    found = fit(both, start=start, n_resamples=50)
    assert found.chosen == "documents"
    assert found.outlook.score.value > 0.9
    assert found.router.route("one three 5", context=["three three one three 5"]).name == "reads"
    assert found.router.route("one three 5").name == "knows"
    for alike in (True, False):  # all of them with passages, or none
        one_way = both.select(np.array([bool(passages) == alike for passages in both.contexts]))
        noisy = replace(one_way, scores=np.where(np.arange(len(one_way))[:, None] % 3 == 0, 0.5, one_way.scores))
        assert "documents" not in fit(noisy, start=start, n_resamples=50).errors
    assert "documents" not in fit(both, start=start, predictors=["knn"], n_resamples=50).errors
