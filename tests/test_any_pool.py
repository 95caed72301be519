"""What the pages promise of any pool, on the embedded weights."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import UnknownCandidateError, UnknownProfileWarning
from lookahead_router.predictors.catalogue import is_coder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.router import Router
from lookahead_router.saved.find import OPEN_EMBEDDED
from lookahead_router.types import Candidate

CURRENT = ["gpt-4o", "gpt-4o-mini", "claude-3-5-sonnet", "gemini-2.5-pro", "llama-3.1-8b-instruct"]
EVERYDAY = Path(__file__).parent / "data" / "everyday.jsonl"


@pytest.fixture(scope="module")
def router():
    return Router.from_pretrained(candidates=CURRENT)


def test_names_that_people_use_are_known(router):
    assert isinstance(router.predictor, OpenPoolPredictor)
    assert {member.match.how for member in router.predictor.members} <= {"exact", "same", "newest"}
    assert all(candidate.has_price for candidate in router.pool)
    assert len(router.predictor.catalogue) > 400


def test_windows_of_known_models_are_known_and_ones_own_go_before(router):
    assert router.pool["gpt-4o"].context_window_tokens == 128_000
    own = Router.from_pretrained(candidates=[Candidate(name="gpt-4o", context_window_tokens=8_000), "my/gpt-4o-mini"])
    assert [candidate.context_window_tokens for candidate in own.pool] == [8_000, 128_000]


def test_easy_prompts_are_answered_well_by_all_and_open_problems_by_none(router):
    for prompt in ("hi", "What is 2+2?"):
        assert min(router.route(prompt).probabilities.values()) > 0.9
    textbook = router.route("Prove that the square root of 2 is irrational.").probabilities
    assert min(textbook.values()) > 0.85
    assert max(router.route("Prove the Riemann hypothesis.").probabilities.values()) < 0.2


def test_easy_prompts_are_no_matter_for_models_that_nobody_knows():
    with pytest.warns(UnknownProfileWarning):
        router = Router.from_pretrained(candidates=["gpt-4o", "my-own-model", "my-llama-70b"])
    for prompt in ("hi", "What is 2+2?", "Plan a weekend in Rome."):
        assert min(router.route(prompt).probabilities.values()) > 0.83


def test_a_quality_is_kept_with_the_cheapest(router):
    cheap = Router.from_pretrained(candidates=CURRENT, quality=0.9)
    assert cheap.route("hi").name == "llama-3.1-8b-instruct"
    decision = cheap.route("Prove that there are infinitely many primes congruent to 3 modulo 4.")
    assert decision.probabilities[decision.name] >= 0.9 * max(decision.probabilities.values())


def test_the_order_of_candidates_does_not_matter_and_restriction_keeps_numbers(router):
    turned = Router.from_pretrained(candidates=CURRENT[::-1])
    prompts = ["hi", "Write a SQL query that lists duplicate emails."]
    np.testing.assert_array_equal(turned.predict(prompts).scores[:, ::-1], router.predict(prompts).scores)
    small = router.restrict_to(CURRENT[:2])
    np.testing.assert_array_equal(small.predict(prompts).scores, router.predict(prompts).scores[:, :2])


def test_a_stranger_is_said_once_and_routed():
    with pytest.warns(UnknownProfileWarning, match="nothing is known of my-finetune"):
        router = Router.from_pretrained(candidates=["gpt-4o", "my-finetune"])
    decision = router.route("hi")
    doubt = {
        name: error / (decision.probabilities[name] * (1 - decision.probabilities[name]))
        for name, error in decision.standard_errors.items()
    }
    assert doubt["my-finetune"] > doubt["gpt-4o"]
    again = pickle.loads(pickle.dumps(router))
    assert again.route("hi").probabilities == router.route("hi").probabilities


def test_a_benchmarks_instruction_seldom_changes_the_choice(router):
    """A sample, with a pool of near equals; benchmarks/robustness.py measures all of it, and passages too."""
    prompts = [json.loads(line)["prompt"] for line in EVERYDAY.read_text(encoding="utf-8").splitlines()][::6]
    plain = router.predict(prompts).probabilities
    lost = []
    for dress in (
        "{}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}.",
        "Answer in JSON.\n{}",
        "You are a brilliant mathematics professor.\n{}",
    ):
        dressed = router.predict([dress.format(prompt) for prompt in prompts]).probabilities
        lost.append(plain.max(axis=1) - plain[np.arange(len(prompts)), dressed.argmax(axis=1)])
    assert (np.array(lost) > 0.02).mean() <= 0.05


def test_whoever_names_a_profile_has_the_predictor_for_any_pool():
    """Also where the candidates bear the names of the paper's five."""
    router = Router.from_pretrained(candidates=["Yi-1.5-34B-Chat"], profiles={"Yi-1.5-34B-Chat": "yi-1.5-34b-chat"})
    [member] = router.predictor.members
    assert (member.match.how, member.match.entry.name) == ("given", "yi-1.5-34b-chat")


def test_an_unknown_profile_names_a_near_one_and_not_all_of_them():
    with pytest.raises(UnknownCandidateError, match=r"Did you mean 'internlm2\.5-20b-chat'") as caught:
        Router.from_pretrained(candidates=["mine"], profiles={"mine": "internlm2.5-21b-chat"})
    assert len(str(caught.value)) < 1000


def test_a_fine_tune_with_a_price_is_routed_at_a_quality():
    router = Router.from_pretrained(
        candidates=["gpt-4o", "my-finetune"],
        profiles={"my-finetune": "llama-3.1-8b-instruct"},
        prices={"my-finetune": (0.05, 0.1)},
        quality=0.9,
    )
    assert router.route("hi").name == "my-finetune"


def test_a_fine_tune_of_openai_is_a_relative_of_its_base():
    name = "ft:gpt-4o-mini-2024-07-18:acme::abc123"
    with pytest.warns(UnknownProfileWarning, match="its relative gpt-4o-mini-2024-07-18, with more doubt"):
        router = Router.from_pretrained(candidates=["gpt-4o", name])
    assert "its relative" in router.taken_for[name]


def test_a_misspelt_name_is_told_what_it_may_mean():
    with pytest.warns(UnknownProfileWarning, match="did you mean claude-sonnet-4 by claude-sonet-4?"):
        Router.from_pretrained(candidates=["gpt-4o", "claude-sonet-4"])


def test_good_answers_lower_no_chance(router):
    prompts = ["What is 55 + 12?", "hi", "Write a SQL query that lists duplicate emails."]
    asked = [f"What is {7 * i + 3} + {5 * i + 4}?" for i in range(5)]
    perfect = RoutingDataset.from_examples(
        RoutingExample(prompt, {name: Outcome(score=1.0) for name in CURRENT}) for prompt in asked
    )
    before, after = router.predict(prompts).probabilities, router.onboard(perfect).predict(prompts).probabilities
    assert (after > before - 0.01).all()


def test_a_saved_router_keeps_what_it_learnt(router, tmp_path):
    observed = router.observe("hi", "gpt-4o", 0.0)
    observed.save(tmp_path / "mine")
    again = Router.from_pretrained(tmp_path / "mine")
    assert again.pool == observed.pool
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert again.route("hi").probabilities == pytest.approx(observed.route("hi").probabilities, abs=1e-9)
    assert again.route("hi").probabilities["gpt-4o"] < router.route("hi").probabilities["gpt-4o"]


def test_it_stays_small():
    size = sum(path.stat().st_size for path in OPEN_EMBEDDED.rglob("*") if path.is_file())
    facts = sum((OPEN_EMBEDDED / name).stat().st_size for name in ("profiles.npz", "catalogue.json"))
    assert size < 34e6
    assert facts < 2e6


def test_its_card_names_data_terms_and_limits():
    card = (OPEN_EMBEDDED / "README.md").read_text(encoding="utf-8")
    for word in ("Built with Llama", "CC BY", "GPL-3.0", "2025 and 2026", "Limits"):
        assert word in card


def test_nobody_is_expected_to_answer_small_talk_at_length():
    """Candidates that only a benchmark of long reports has measured were, at some 9,000 tokens."""
    catalogue = OpenPoolPredictor.load().catalogue
    router = Router.from_pretrained(candidates=[entry.name for entry in catalogue.search() if entry.n_answers >= 100])
    tokens = router.predict(["hi", "Plan a weekend in Rome.", "Was ist die Hauptstadt von Peru?"]).expected_tokens
    assert np.quantile(tokens, 0.99) < 1_500
    assert np.median(tokens) < 300


CODE = Path(__file__).parent / "data" / "code.jsonl"
"""Written without sight of the prompts that the reading of code was fitted to; six languages and Japanese."""


def read_code_prompts() -> tuple[list[str], np.ndarray]:
    """70 requests for code and as many others, and which are which."""
    rows = [json.loads(line) for line in CODE.read_text(encoding="utf-8").splitlines()]
    return [row["prompt"] for row in rows], np.array([row["about"] == "code" for row in rows])


@pytest.mark.parametrize(
    ("coder", "chat"),
    [
        ("qwen2.5-coder-7b-instruct", "llama-3.1-8b-instruct"),
        ("qwen2.5-coder-7b-instruct", "internlm2.5-20b-chat"),
        ("codellama-34b-instruct", "llama-2-70b-chat"),
        ("my-coder-32b", "my-chat-32b"),
    ],
)
@pytest.mark.filterwarnings("ignore::lookahead_router.errors.UnknownProfileWarning")
def test_code_goes_to_the_coder_and_the_rest_to_the_chat_model(coder, chat):
    prompts, is_code = read_code_prompts()
    probabilities = np.array(Router.from_pretrained(candidates=[coder, chat]).predict(prompts).probabilities)
    to_coder = probabilities[:, 0] > probabilities[:, 1]
    assert to_coder[is_code].mean() > 0.6
    assert to_coder[~is_code].mean() < 0.35
    assert to_coder[is_code].mean() > to_coder[~is_code].mean() + 0.4


def test_coders_answer_code_among_all_who_are_their_equals():
    prompts, is_code = read_code_prompts()
    predictor = Router.from_pretrained(candidates=CURRENT).predictor
    names = [entry.name for entry in predictor.catalogue.entries]
    probabilities = np.array(predictor.with_candidates(names).predict(prompts).probabilities)
    level, coders = probabilities[~is_code].mean(axis=0), np.array([is_coder(name) for name in names])
    shares = []
    for k in np.flatnonzero(coders):
        equals = np.flatnonzero(~coders & (abs(level - level[k]) < 0.01))
        shares.append((probabilities[is_code][:, [k]] > probabilities[is_code][:, equals]).mean())
    assert len(shares) >= 10
    assert np.mean(shares) > 0.8


def test_a_much_better_chat_model_is_asked_for_code_too():
    prompts, is_code = read_code_prompts()
    router = Router.from_pretrained(candidates=["gpt-5", "qwen2.5-coder-7b-instruct"])
    probabilities = np.array(router.predict(prompts).probabilities)[is_code]
    assert (probabilities[:, 0] > probabilities[:, 1]).mean() > 0.8
