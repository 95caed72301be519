import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lookahead_router import metrics

relaxed = settings(deadline=None, max_examples=100)

score_arrays = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0, 1))


@st.composite
def routed(draw):
    """Scores and choices among their candidates."""
    scores = draw(score_arrays)
    choices = draw(hnp.arrays(np.int64, len(scores), elements=st.integers(0, scores.shape[1] - 1)))
    return scores, choices


def scores_with_means(means: list[float], oracle: float) -> np.ndarray:
    """`(K, K)` scores whose columns have the given means and whose row maxima have the mean `oracle`.

    Row `i` is won by candidate `i` with `oracle`; the rest of column `k` makes up for it.
    """
    n = len(means)
    scores = np.tile((n * np.array(means) - oracle) / (n - 1), (n, 1))
    np.fill_diagonal(scores, oracle)
    return scores


# Behind the paper's Table 1, on the [0, 1] scale: means of Yi, InternLM, Phi, Llama, Qwen-Coder; random; oracle;
# and the normalised scores that it prints. MT-Bench stands there as the paper rounded it before dividing.
PAPER = {
    "AlpacaEval": ([0.3755, 0.3711, 0.2978, 0.2457, 0.1797], 0.2940, 0.576, [28.9, 27.4, 1.4, -17.1, -40.5]),
    "Arena-Hard": ([0.4409, 0.2830, 0.3334, 0.2122, 0.3514], 0.3242, 0.7709, [26.1, -9.2, 2.1, -25.1, 6.1]),
    "MT-Bench": ([0.781, 0.748, 0.799, 0.769, 0.754], 0.7702, 0.879, [9.9, -20.4, 26.5, -1.1, -14.9]),
    "GSM8k": ([0.8840, 0.8984, 0.8908, 0.8165, 0.8575], 0.8695, 0.9750, [13.8, 27.4, 20.2, -50.2, -11.3]),
    "MATH": ([0.5190, 0.6222, 0.4450, 0.4466, 0.6124], 0.5290, 0.7780, [-4.0, 37.4, -33.8, -33.1, 33.5]),
    "HumanEval": ([0.6951, 0.7256, 0.7439, 0.6220, 0.8720], 0.7317, 0.9390, [-17.7, -3.0, 5.9, -52.9, 67.7]),
    "MBPP": ([0.7082, 0.6887, 0.6887, 0.6809, 0.8288], 0.7191, 0.9261, [-5.2, -14.7, -14.7, -18.4, 53.0]),
}


@pytest.mark.parametrize("source", PAPER)
def test_a_fixed_candidate_has_the_normalized_score_of_the_paper(source):
    means, random, oracle, normalized = PAPER[source]
    scores = scores_with_means(means, oracle)
    np.testing.assert_allclose(scores.mean(axis=0), means, atol=1e-12)
    assert metrics.random_scores(scores).mean() == pytest.approx(random, abs=1e-4)
    assert metrics.oracle_scores(scores).mean() == pytest.approx(oracle, abs=1e-12)
    found = [metrics.normalized_score(scores[:, k], scores) for k in range(len(means))]
    np.testing.assert_allclose(found, normalized, atol=0.06)


def test_qwen_on_humaneval_scores_67_7():
    means, random, oracle, _ = PAPER["HumanEval"]
    assert round(100 * (means[4] - random) / (oracle - random), 1) == 67.7
    # The same from the counts behind the figures: 143 of 164 solved, 120 by a random choice, 154 by any.
    scores = np.zeros((164, 5))
    for column, solved in enumerate([114, 119, 122, 102]):
        scores[154 - solved : 154, column] = 1
    scores[:143, 4] = 1
    np.testing.assert_allclose(scores.mean(axis=0), means, atol=5e-5)
    assert metrics.normalized_score(scores[:, 4], scores) == pytest.approx(100 * (143 - 120) / (154 - 120))
    assert metrics.normalized_score(scores[:, 4], scores) == pytest.approx(67.7, abs=0.1)


@pytest.mark.parametrize(
    ("columns", "average"),
    [
        ([0] * 7, 7.4),
        ([1] * 7, 6.4),
        ([2] * 7, 1.1),
        ([3] * 7, -28.3),
        ([4] * 7, 13.4),
        ([0, 0, 0, 1, 1, 4, 4], 35.8),  # Yi for chat, InternLM for mathematics, Qwen-Coder for code
        ([0, 0, 2, 1, 1, 4, 4], 38.1),  # the best of each benchmark
    ],
    ids=["yi", "internlm", "phi", "llama", "qwen", "rule by domain", "best per benchmark"],
)
def test_the_mean_over_benchmarks_is_that_of_the_paper(columns, average):
    found = []
    for column, (means, _, oracle, _) in zip(columns, PAPER.values(), strict=True):
        scores = scores_with_means(means, oracle)
        found.append(metrics.normalized_score(scores[:, column], scores))
    assert np.mean(found) == pytest.approx(average, abs=0.1)


def test_a_sigmoid_and_a_softmax_do_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(metrics.sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0], atol=1e-20)
        shares = metrics.softmax(np.array([[1e4, 1e4, -1e4], [0.0, 0.0, 0.0]]))
        np.testing.assert_allclose(shares, [[0.5, 0.5, 0.0], [1 / 3] * 3])


@given(st.floats(-30, 30))
def test_a_sigmoid_is_the_softmax_of_a_logit_and_zero(logit):
    assert metrics.sigmoid(np.array(logit)) == pytest.approx(metrics.softmax(np.array([logit, 0.0]))[0])


def test_a_known_mean_leaves_out_nan_and_is_nan_where_there_is_nothing_else():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    np.testing.assert_array_equal(metrics.known_mean(values), [2.0, 5.0, np.nan])
    np.testing.assert_array_equal(metrics.known_mean(values, axis=1), [1.0, 4.0])


def test_per_prompt_scores_of_choice_random_and_oracle():
    scores = np.array([[0.0, 1.0, 0.5], [0.75, 0.0, 0.0]])
    np.testing.assert_array_equal(metrics.chosen_scores(scores, np.array([1, 2])), [1.0, 0.0])
    np.testing.assert_array_equal(metrics.random_scores(scores), [0.5, 0.25])
    np.testing.assert_array_equal(metrics.oracle_scores(scores), [1.0, 0.75])


# Normalised score


@relaxed
@given(score_arrays)
def test_random_scores_zero_and_the_oracle_a_hundred(scores):
    assume(metrics.oracle_scores(scores).mean() - metrics.random_scores(scores).mean() > 1e-6)
    assert metrics.normalized_score(metrics.random_scores(scores), scores) == pytest.approx(0, abs=1e-6)
    assert metrics.normalized_score(metrics.oracle_scores(scores), scores) == pytest.approx(100)


@relaxed
@given(routed())
def test_no_choice_beats_the_oracle(case):
    scores, choices = case
    assume(metrics.oracle_scores(scores).mean() - metrics.random_scores(scores).mean() > 1e-6)
    assert metrics.normalized_score(metrics.chosen_scores(scores, choices), scores) <= 100 + 1e-6


@relaxed
@given(routed(), st.floats(0.1, 10), st.floats(-3, 3))
def test_the_normalized_score_does_not_depend_on_the_scale_of_scores(case, factor, shift):
    scores, choices = case
    assume(metrics.oracle_scores(scores).mean() - metrics.random_scores(scores).mean() > 1e-3)
    chosen = metrics.chosen_scores(scores, choices)
    scaled = metrics.normalized_score(chosen * factor + shift, scores * factor + shift)
    assert scaled == pytest.approx(metrics.normalized_score(chosen, scores), abs=1e-6)


def test_the_normalized_score_below_random_is_negative():
    scores = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.normalized_score(scores[:, 1], scores) == -100


@pytest.mark.parametrize("scores", [np.full((3, 2), 0.1), np.array([[0.2], [0.9]]), np.array([[0.3, 0.3], [0.7, 0.7]])])
def test_the_normalized_score_is_nan_where_nothing_can_be_gained(scores):
    assert np.isnan(metrics.normalized_score(scores[:, 0], scores))


# Regret and gap recovered


def test_regret_is_the_mean_score_lost():
    scores = np.array([[1.0, 0.0], [0.25, 0.75]])
    assert metrics.regret(scores[:, 0], scores) == 0.25


@relaxed
@given(routed())
def test_regret_is_never_negative_and_zero_for_the_oracle(case):
    scores, choices = case
    assert metrics.regret(metrics.chosen_scores(scores, choices), scores) >= 0
    assert metrics.regret(metrics.oracle_scores(scores), scores) == 0


def test_gap_recovered_runs_from_the_best_single_to_the_oracle():
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert metrics.gap_recovered(scores[:, 0], scores, best_single=0) == 0
    assert metrics.gap_recovered(metrics.oracle_scores(scores), scores, best_single=0) == 1
    assert metrics.gap_recovered(scores[:, 1], scores, best_single=0) == -1


def test_a_small_gap_is_one():
    scores = np.array([[0.5, 0.500001], [0.5, 0.5]])
    chosen = metrics.chosen_scores(scores, np.array([1, 0]))
    assert metrics.gap_recovered(chosen, scores, 0) == pytest.approx(1.0)
    assert metrics.normalized_score(chosen, scores) == pytest.approx(100.0)


def test_gap_recovered_is_nan_where_the_best_single_is_the_oracle():
    scores = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert np.isnan(metrics.gap_recovered(scores[:, 1], scores, best_single=0))


# Hits and shares


def test_ties_count_as_hits():
    scores = np.array([[1.0, 1.0, 0.0], [0.5, 0.5, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert metrics.hit_rate(scores[:, 1], scores) == 0.75
    assert metrics.hit_rate(scores[:, 2], scores) == 0.75


def test_a_hit_may_be_off_by_rounding_alone():
    scores = np.array([[0.1 + 0.2, 0.3]])
    assert metrics.hit_rate(scores[:, 1], scores) == 1
    assert metrics.hit_rate(np.array([0.3 - 1e-6]), scores) == 0


@relaxed
@given(routed())
def test_a_full_hit_rate_and_no_regret_go_together(case):
    scores, choices = case
    chosen = metrics.chosen_scores(scores, choices)
    assert 0 <= metrics.hit_rate(chosen, scores) <= 1
    assert metrics.hit_rate(metrics.oracle_scores(scores), scores) == 1
    assert (metrics.hit_rate(chosen, scores) == 1) == bool((metrics.oracle_scores(scores) - chosen <= 1e-9).all())


@relaxed
@given(routed())
def test_shares_count_the_choices_and_sum_to_one(case):
    scores, choices = case
    shares = metrics.shares(choices, scores.shape[1])
    assert shares.shape == (scores.shape[1],)
    assert shares.sum() == pytest.approx(1)
    for column, share in enumerate(shares):
        assert share == pytest.approx((choices == column).mean())


def test_a_candidate_that_is_never_chosen_has_a_share_of_zero():
    np.testing.assert_array_equal(metrics.shares(np.array([0, 0, 1, 0]), 4), [0.75, 0.25, 0, 0])


# Bootstrap


@pytest.fixture
def sample(rng) -> np.ndarray:
    return rng.normal(size=60)


def interval_of(values: np.ndarray, groups: np.ndarray | None = None, *, seed=0, **options) -> metrics.Interval:
    groups = np.zeros(len(values)) if groups is None else groups
    counts = metrics.resample_counts(groups, n_resamples=200, seed=seed)
    return metrics.sample_interval(counts @ values / len(values), **options)


def test_the_same_seed_gives_the_same_interval(sample):
    assert interval_of(sample, seed=3) == interval_of(sample, seed=3)
    assert interval_of(sample, seed=3) != interval_of(sample, seed=4)


def test_the_interval_holds_the_statistic_of_all_rows(sample):
    value, low, high = interval_of(sample)
    assert value == pytest.approx(sample.mean())
    assert low < value < high


def test_a_wider_confidence_gives_a_wider_interval(sample):
    narrow, wide = interval_of(sample, confidence=0.5), interval_of(sample, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.value == narrow.value


def test_a_statistic_that_does_not_vary_has_an_interval_without_width():
    assert interval_of(np.full(10, 0.25)) == (0.25, 0.25, 0.25)


def test_the_interval_covers_the_truth_as_often_as_it_says(rng):
    covered = 0
    for _ in range(100):
        _, low, high = interval_of(rng.normal(loc=2.0, size=40), confidence=0.9)
        covered += low <= 2.0 <= high
    assert 80 <= covered <= 98


def test_drawing_within_groups_ignores_the_differences_between_them(sample):
    groups = np.repeat([0, 1], 30)
    apart = sample + 100 * groups
    within, across = interval_of(apart, groups), interval_of(apart)
    assert within.high - within.low < 2
    assert across.high - across.low > 10


def test_the_calibration_error_is_the_mean_gap_between_promise_and_outcome():
    probabilities = np.array([0.2] * 10 + [0.8] * 10)
    outcomes = np.array([0.0] * 8 + [1.0] * 2 + [1.0] * 5 + [0.0] * 5)
    assert metrics.expected_calibration_error(probabilities, outcomes, n_bins=2) == pytest.approx((0.0 + 0.3) / 2)
    assert metrics.expected_calibration_error(outcomes, outcomes) == 0.0


# Who is found, and where prompts go


def test_model_recall_counts_prompts_with_one_right_candidate():
    scores = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0.6]])
    chosen = metrics.chosen_scores(scores, np.array([0, 0, 0, 1, 2]))
    assert metrics.model_recall(chosen, scores) == pytest.approx(2 / 3)
    assert metrics.model_recall(chosen, scores, right=0.7) == pytest.approx(1 / 2)
    assert np.isnan(metrics.model_recall(chosen[2:4], scores[2:4]))
    assert metrics.model_recall(np.array([0.5]), np.array([[0.5, 0.4]])) == 1.0  # from 0.5 on an answer is right


@relaxed
@given(routed())
def test_the_collapse_index_is_between_an_even_split_and_one(routing):
    scores, choices = routing
    index = metrics.collapse_index(metrics.shares(choices, scores.shape[1]))
    assert 1 / scores.shape[1] - 1e-12 <= index <= 1


# Cost and quality

COSTS, QUALITIES = np.array([1.0, 3.0, 2.0, 2.0, 5.0]), np.array([0.2, 0.7, 0.3, 0.1, 0.6])
"""The cheapest, the best, one below the line between them, and two that another one beats on both."""

points = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: n / 4), st.floats(0, 1).map(lambda q: round(q, 6))),
    min_size=1,
    max_size=12,
).map(lambda p: np.array(p).T)


def test_the_frontier_keeps_what_no_mixture_beats():
    costs, qualities = metrics.cost_quality_frontier(COSTS, QUALITIES)
    np.testing.assert_array_equal(costs, [1.0, 3.0])
    np.testing.assert_array_equal(qualities, [0.2, 0.7])


def test_of_a_concave_chain_every_setting_is_a_corner_and_of_a_bent_one_those_on_its_hull():
    costs = np.array([1.0, 2.0, 4.0, 7.0, 11.0, 12.0])
    chain = np.array([0.1, 0.4, 0.7, 0.85, 0.95, 0.955])
    np.testing.assert_array_equal(metrics.cost_quality_frontier(costs, chain), [costs, chain])
    bent = np.array([0.1, 0.15, 0.7, 0.75, 0.95, 0.96])
    np.testing.assert_array_equal(metrics.cost_quality_frontier(costs, bent), [costs[[0, 2, 4, 5]], bent[[0, 2, 4, 5]]])
    line = np.array([0.125, 0.25, 0.5, 0.875, 0.875, 0.875])
    np.testing.assert_array_equal(metrics.cost_quality_frontier(costs, line), [costs[[0, 3]], line[[0, 3]]])


@relaxed
@given(points, st.floats(0, 10))
def test_the_frontier_is_the_best_of_all_mixtures_of_two_settings(settings, budget):
    affordable = [(cost, quality) for cost, quality in settings.T if cost <= budget]
    dearer = [(cost, quality) for cost, quality in settings.T if cost > budget]
    if not affordable:
        assert np.isnan(metrics.quality_at_cost(*settings, budget * (1 - 1e-5)))
        return
    mixed = [
        quality + (budget - cost) / (dear - cost) * (better - quality)
        for cost, quality in affordable
        for dear, better in dearer
    ]
    best = max([quality for _, quality in affordable] + mixed)
    assert metrics.quality_at_cost(*settings, budget) == pytest.approx(best, abs=1e-9)


@relaxed
@given(points, st.lists(st.floats(0, 12), min_size=3, max_size=3, unique=True).map(sorted))
def test_the_areas_of_two_ranges_are_that_of_both(settings, limits):
    low, middle, high = limits
    assume(min(middle - low, high - middle) > 1e-3)
    parts = [metrics.area_under_frontier(*settings, a, b) * (b - a) for a, b in ((low, middle), (middle, high))]
    assert metrics.area_under_frontier(*settings, low, high) * (high - low) == pytest.approx(sum(parts), abs=1e-9)


def test_the_highest_quality_has_a_cost_and_no_range_has_no_area():
    assert metrics.cost_at_quality(COSTS, QUALITIES, 0.7) == 3.0
    assert metrics.cost_at_quality(COSTS, QUALITIES, 0.7 + 5e-7) == 3.0  # a mean in another order
    assert np.isnan(metrics.cost_at_quality(COSTS, QUALITIES, 0.7 + 2e-6))
    assert np.isnan(metrics.area_under_frontier(COSTS, QUALITIES, 2.0, 2.0))


def test_cost_at_equal_quality_and_quality_at_equal_cost():
    assert metrics.cost_at_quality(COSTS, QUALITIES, 0.45) == pytest.approx(2.0)
    assert metrics.quality_at_cost(COSTS, QUALITIES, 2.0) == pytest.approx(0.45)
    assert metrics.cost_at_quality(COSTS, QUALITIES, 0.1) == 1.0
    assert metrics.quality_at_cost(COSTS, QUALITIES, 9.0) == 0.7
    assert np.isnan(metrics.cost_at_quality(COSTS, QUALITIES, 0.71))
    assert np.isnan(metrics.quality_at_cost(COSTS, QUALITIES, 0.9))


def test_settings_of_unknown_cost_are_left_out():
    costs, qualities = np.array([np.nan, 1.0, 2.0, 0.5]), np.array([0.9, 0.2, 0.3, np.nan])
    assert metrics.quality_at_cost(costs, qualities, 1.5) == pytest.approx(0.25)
    nothing = np.array([np.nan]), np.array([0.5])
    assert np.isnan(metrics.quality_at_cost(*nothing, 1.0))
    assert np.isnan(metrics.cost_at_quality(*nothing, 0.1))
    assert np.isnan(metrics.area_under_frontier(*nothing, 0.0, 1.0))


def test_the_area_is_the_mean_quality_over_the_costs():
    assert metrics.area_under_frontier(COSTS, QUALITIES, 1.0, 3.0) == pytest.approx(0.45)
    assert metrics.area_under_frontier(COSTS, QUALITIES, 1.0, 5.0) == pytest.approx((0.45 + 0.7) / 2)
    assert metrics.area_under_frontier(COSTS, QUALITIES, 0.0, 1.0) == pytest.approx(0.2)


@relaxed
@given(points)
def test_the_frontier_rises_is_concave_and_lies_above_every_point(settings):
    corners = metrics.cost_quality_frontier(*settings)
    assert (np.diff(corners, axis=1) > 0).all()
    slopes = np.diff(corners[1]) / np.diff(corners[0])
    assert (np.diff(slopes) <= 1e-6 * np.abs(slopes[1:])).all()
    for cost, quality in settings.T:
        assert metrics.quality_at_cost(*settings, cost) >= quality - 1e-9


@relaxed
@given(points, st.floats(0, 1), st.floats(0, 1))
def test_more_quality_never_costs_less(settings, first, second):
    low, high = sorted((first, second))
    cheap, dear = (metrics.cost_at_quality(*settings, target) for target in (low, high))
    assert np.isnan(dear) or cheap <= dear + 1e-9


def test_the_mean_cost_is_of_the_chosen_answers_and_unknown_where_one_is():
    costs = np.array([[1.0, 9.0], [np.nan, 3.0]])
    assert metrics.mean_cost(costs, np.array([0, 1])) == 2.0
    assert np.isnan(metrics.mean_cost(costs, np.array([0, 0])))


# Pairs


def test_a_paired_interval_is_of_the_difference_on_the_same_rows(rng):
    base = rng.random(200)
    better = base + 0.1
    paired = interval_of(better - base)
    assert paired.low == pytest.approx(0.1)
    assert paired.high == pytest.approx(0.1)
    alone = interval_of(better)
    assert alone.high - alone.low > 0.05


# Resamples that all share


def test_every_resample_draws_as_many_rows_of_each_group(rng):
    groups = rng.permutation(np.repeat(["a", "b", "c"], [50, 7, 1]))
    counts = metrics.resample_counts(groups, n_resamples=200)
    assert counts.shape == (201, 58)
    np.testing.assert_array_equal(counts[0], 1)
    for group, n in (("a", 50), ("b", 7), ("c", 1)):
        np.testing.assert_array_equal(counts[:, groups == group].sum(axis=1), n)
    np.testing.assert_array_equal(counts[:, groups == "c"], 1)
    drawn = counts[1:, groups == "a"]
    assert drawn.mean() == pytest.approx(1)
    assert drawn.var() == pytest.approx(1 - 1 / 50, rel=0.05)


def test_a_thousand_resamples_stand_behind_an_interval_and_fifteen_bins_behind_a_calibration_error(rng):
    groups = np.zeros(3, dtype=int)
    counts = metrics.resample_counts(groups)
    assert (counts.shape, counts.dtype) == ((1001, 3), np.float32)
    np.testing.assert_array_equal(counts, metrics.resample_counts(groups, n_resamples=1000, seed=0))
    probabilities, outcomes = rng.random(40), rng.random(40)
    assert metrics.expected_calibration_error(probabilities, outcomes) == metrics.expected_calibration_error(
        probabilities, outcomes, n_bins=15
    )
    assert metrics.expected_calibration_error(probabilities, outcomes) != metrics.expected_calibration_error(
        probabilities, outcomes, n_bins=16
    )


def test_resamples_are_those_of_the_seed():
    groups = np.zeros(30)
    first = metrics.resample_counts(groups, n_resamples=5, seed=1)
    np.testing.assert_array_equal(first, metrics.resample_counts(groups, n_resamples=5, seed=1))
    assert not np.array_equal(first, metrics.resample_counts(groups, n_resamples=5, seed=2))


def test_the_interval_of_resamples_is_that_of_drawing_rows_one_by_one(rng):
    values, groups = rng.random(300), np.repeat([0, 1], 150)
    counts = metrics.resample_counts(groups, n_resamples=4000)
    found = metrics.sample_interval(counts @ values / 300)
    drawn = np.concatenate([rng.integers(150, size=(4000, 150)), 150 + rng.integers(150, size=(4000, 150))], axis=1)
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(low, abs=0.003)
    assert found.high == pytest.approx(high, abs=0.003)


def test_the_interval_leaves_out_what_is_not_known():
    samples = np.array([0.5, np.nan, *np.linspace(0, 1, 101), np.nan])
    assert metrics.sample_interval(samples, confidence=0.9) == pytest.approx((0.5, 0.05, 0.95))
    value, low, high = metrics.sample_interval(np.array([0.5, np.nan]))
    assert value == 0.5
    assert np.isnan([low, high]).all()
