"""The population of candidates and their profiles, fitted to answers that were drawn from known abilities."""

from dataclasses import replace

import numpy as np
import pytest

from lookahead_router.errors import DataError
from lookahead_router.metrics import sigmoid
from lookahead_router.predictors.catalogue import facts_of
from lookahead_router.predictors.profiles import Foreseen
from lookahead_router.training.population import CODERS_LEAN, PublicAnswers, fit_population, with_code_ability

N_PROMPTS, N_CANDIDATES, N_DEMANDS = 600, 30, 3
NAMES = [f"m{k}" for k in range(N_CANDIDATES)]
FACTS = np.tile(facts_of(), (N_CANDIDATES, 1))


@pytest.fixture(scope="module")
def world() -> tuple[Foreseen, np.ndarray, np.ndarray]:
    """Prompts, abilities `(K, R + 1)`, and chances `(n, K)`."""
    random = np.random.default_rng(0)
    embedding = random.normal(size=(N_PROMPTS, 80))
    foreseen = Foreseen(
        demands=random.normal(size=(N_PROMPTS, N_DEMANDS)),
        difficulty=random.normal(size=N_PROMPTS),
        log_tokens=random.normal(5.0, 0.5, N_PROMPTS),
        verbosity=random.uniform(size=N_PROMPTS),
        embedding=embedding / np.linalg.norm(embedding, axis=1, keepdims=True),
    )
    abilities = random.normal(size=(N_CANDIDATES, N_DEMANDS + 1)) * [1.0, 0.6, 0.3, 0.05]
    chances = sigmoid(abilities[:, 0] + foreseen.demands @ abilities[:, 1:].T - foreseen.difficulty[:, None])
    return foreseen, abilities, chances


def answers_of(chances: np.ndarray, prompts: np.ndarray, seed: int = 1) -> PublicAnswers:
    """Every candidate's answers to the prompts."""
    rows, columns = np.repeat(prompts, N_CANDIDATES), np.tile(np.arange(N_CANDIDATES), len(prompts))
    scores = (np.random.default_rng(seed).random(len(rows)) < chances[rows, columns]).astype(float)
    nowhere = np.zeros(len(rows), dtype=int)
    return PublicAnswers(rows, columns, scores, nowhere, np.array([False]), np.full(len(rows), np.nan))


def test_profiles_find_the_abilities_that_gave_the_answers(world):
    foreseen, abilities, chances = world
    population, profiles = fit_population(foreseen, answers_of(chances, np.arange(N_PROMPTS)), FACTS, NAMES)
    found = np.stack([profile.mean for profile in profiles])
    assert np.corrcoef(found[:, 0], abilities[:, 0])[0, 1] > 0.97
    assert np.corrcoef(found[:, 1], abilities[:, 1])[0, 1] > 0.95
    spread = np.sqrt(np.diag(population.covariance))
    assert spread == pytest.approx(abilities.std(axis=0), abs=0.15)


def test_the_spread_of_abilities_is_learnt_where_the_network_was_not_fitted(world):
    """On prompts of its training a network foresees answers that it has seen: there abilities look larger than new
    prompts bear out."""
    foreseen, abilities, chances = world
    random = np.random.default_rng(2)
    is_seen = np.arange(N_PROMPTS) < N_PROMPTS // 2
    memory = random.normal(size=(N_PROMPTS, N_DEMANDS)) * is_seen[:, None]
    remembered = random.normal(size=(N_CANDIDATES, N_DEMANDS))
    chances = sigmoid(np.log(chances / (1 - chances)) + memory @ remembered.T)
    foreseen = replace(foreseen, demands=np.where(is_seen[:, None], foreseen.demands + 2 * memory, foreseen.demands))
    answers = answers_of(chances, np.arange(N_PROMPTS))
    told, _ = fit_population(foreseen, replace(answers, is_new=~is_seen[answers.prompts]), FACTS, NAMES)
    untold, _ = fit_population(foreseen, answers, FACTS, NAMES)
    truth = abilities[:, 3].std()
    errors = [abs(np.sqrt(population.covariance[3, 3]) - truth) for population in (told, untold)]
    assert errors[0] < 0.12 < errors[1]


def test_what_is_expected_of_every_candidate_holds_for_one_of_few_answers(world):
    foreseen, _, chances = world
    answers = answers_of(chances, np.arange(100))
    few = answers.select(np.flatnonzero((answers.candidates > 0) | (answers.prompts < 3)))
    easy = np.arange(500, 560)
    foreseen = replace(foreseen, difficulty=np.where(np.isin(np.arange(N_PROMPTS), easy), -2.0, foreseen.difficulty))
    probabilities = []
    for expected in (None, np.stack([easy, np.full(len(easy), 0.98)], axis=1)):
        population, profiles = fit_population(foreseen, replace(few, expected=expected), FACTS, NAMES)
        probabilities.append(population.predict(foreseen.select(easy), profiles[:1])[0].mean())
    assert probabilities[0] < 0.82
    assert probabilities[1] > 0.87


def test_what_is_expected_of_all_lifts_strangers_and_says_nothing_of_how_far_abilities_spread(world):
    foreseen, _, chances = world
    answers = answers_of(chances, np.arange(100))
    easy = np.arange(500, 560)
    foreseen = replace(foreseen, difficulty=np.where(np.isin(np.arange(N_PROMPTS), easy), -2.0, foreseen.difficulty))
    expected = np.stack([easy, np.full(len(easy), 0.98)], axis=1)
    plain, _ = fit_population(foreseen, answers, FACTS, NAMES)
    told, profiles = fit_population(foreseen, replace(answers, expected=expected), FACTS, NAMES)
    before, after = (
        population.predict(foreseen.select(easy), [population.start(FACTS[0])])[0].mean()
        for population in (plain, told)
    )
    known = told.predict(foreseen.select(easy), profiles)[0].mean()
    assert before + 0.02 < after < known
    np.testing.assert_array_equal(told.covariance, plain.covariance)


def test_coders_lean_to_code_whether_they_are_known_or_not(world):
    foreseen, _, chances = world
    plain, known = fit_population(foreseen, answers_of(chances, np.arange(100)), FACTS, NAMES)
    is_coder = np.arange(N_CANDIDATES) < 3
    population, profiles = with_code_ability(plain, known, is_coder)
    is_code = np.arange(N_PROMPTS) >= 400
    wider = replace(foreseen, demands=np.column_stack([foreseen.demands, is_code]))
    before, after = plain.design(foreseen)[:, :4], population.design(wider)[:, :5]
    lead = np.stack([after @ new.mean - before @ old.mean for new, old in zip(profiles, known, strict=True)], axis=1)
    np.testing.assert_allclose(lead[:, 3:], 0, atol=1e-12)
    np.testing.assert_allclose(lead[:, :3], np.where(is_code, CODERS_LEAN, -CODERS_LEAN)[:, None] * np.ones(3))
    coder, other = (population.start(facts_of(is_coder=value)).mean for value in (True, False))
    np.testing.assert_allclose(after @ (coder - other), np.where(is_code, CODERS_LEAN, -CODERS_LEAN))
    observed = population.observe(wider.select(np.array([500])), profiles[5], 0.0)
    assert observed.mean[-1] < profiles[5].mean[-1]  # who has no public answer to code learns from the user's


def test_a_lenient_judge_makes_no_candidate_able(world):
    foreseen, abilities, chances = world
    graded, lenient = answers_of(chances, np.arange(0, 300)), answers_of(chances**0.4, np.arange(300, 600))
    answers = PublicAnswers(
        *(
            np.concatenate([getattr(graded, name), getattr(lenient, name)])
            for name in ("prompts", "candidates", "scores")
        ),
        np.repeat([0, 1], len(graded.scores)),
        np.array([False, True]),
        np.concatenate([graded.output_tokens, lenient.output_tokens]),
    )
    _, profiles = fit_population(foreseen, answers, FACTS, NAMES)
    _, fooled = fit_population(foreseen, replace(answers, has_severity=np.array([False, False])), FACTS, NAMES)
    bias = [np.mean([profile.mean[0] for profile in found]) - abilities[:, 0].mean() for found in (profiles, fooled)]
    assert abs(bias[0]) < 0.2 < bias[1]


def test_a_candidate_without_an_answer_is_refused(world):
    foreseen, _, chances = world
    answers = answers_of(chances, np.arange(50))
    with pytest.raises(DataError, match="no answer of m7"):
        fit_population(foreseen, answers.select(np.flatnonzero(answers.candidates != 7)), FACTS, NAMES)


def test_a_source_of_long_answers_makes_nobody_long_elsewhere(world):
    """Some candidates answered only a benchmark of long reports, which the network was not fitted on."""
    foreseen, _, chances = world
    answers = answers_of(chances, np.arange(120))
    at_reports = answers.candidates < N_CANDIDATES // 2
    twice = (answers.prompts >= 60) == at_reports  # each candidate at one source, but for two that were at both
    kept = np.flatnonzero(twice | np.isin(answers.candidates, (0, N_CANDIDATES - 1)))
    is_report = answers.prompts >= 60
    factors = np.where(answers.candidates % 2, 2.0, 1.0)  # every other one is wordy
    tokens = np.exp(foreseen.log_tokens[answers.prompts]) * factors * np.where(is_report, 30.0, 1.0)
    answers = replace(answers, sources=is_report.astype(int), output_tokens=tokens)
    of_its_own = replace(answers, has_severity=np.array([False, True])).select(kept)
    population, profiles = fit_population(foreseen, of_its_own, FACTS, NAMES)
    expected = population.expected_tokens(foreseen, profiles)
    usual = np.exp(foreseen.log_tokens)[:, None]
    ratio = np.exp(np.log(expected / usual).mean(axis=0))
    assert ratio.max() < 5
    assert np.median(ratio[1::2]) > 1.4 * np.median(ratio[::2])
    untold = replace(answers, has_severity=np.array([False, False])).select(kept)
    population, profiles = fit_population(foreseen, untold, FACTS, NAMES)
    assert (population.expected_tokens(foreseen, profiles) / usual).max() > 20
