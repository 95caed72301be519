import math

import pytest
import torch

from lookahead_router.errors import ConfigurationError
from lookahead_router.training import objectives
from lookahead_router.training.objectives import OBJECTIVES, reconstruction_loss, routing_targets, scale_per_prompt
from lookahead_router.training.recipe import ObjectiveSettings

NAN = float("nan")


def routing_loss(logits, scores, *, objective="bce", temperature=0.1, weights=None, **settings):
    """The loss from observed scores."""
    chosen = ObjectiveSettings(routing=objective, temperature=temperature, **settings)
    return objectives.routing_loss(logits, routing_targets(scores, chosen), chosen, weights=weights)


def test_the_routing_loss_equals_a_plain_loop():
    torch.manual_seed(0)
    logits, scores = torch.randn(6, 4), torch.rand(6, 4)
    losses = []
    for row in range(6):
        low, high = scores[row].min(), scores[row].max()
        for k in range(4):
            label = float((scores[row, k] - low) / (high - low) >= 0.8)
            p = 1 / (1 + math.exp(-logits[row, k]))
            losses.append(-(label * math.log(p) + (1 - label) * math.log(1 - p)))
    assert routing_loss(logits, scores).item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_soft_targets_are_the_scaled_scores():
    logits = torch.tensor([[0.3, -1.0, 2.0]])
    scores = torch.tensor([[0.2, 0.4, 0.6]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([[0.0, 0.5, 1.0]]))
    assert routing_loss(logits, scores, threshold=None).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_prompt_whose_candidates_all_score_alike_adds_nothing():
    logits = torch.randn(2, 3, requires_grad=True)
    scores = torch.tensor([[0.0, 1.0, 0.5], [0.7, 0.7, 0.7]])
    loss = routing_loss(logits, scores)
    loss.backward()
    assert loss.item() == pytest.approx(routing_loss(logits[:1], scores[:1]).item())
    assert logits.grad[1].abs().sum() == 0


def test_a_batch_without_any_ranking_has_zero_loss_and_finite_gradients():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = routing_loss(logits, torch.full((2, 3), 0.5))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.isfinite().all()


def test_a_missing_score_neither_trains_nor_ranks():
    scores = torch.tensor([[0.2, NAN, 0.8], [NAN, 0.4, NAN]])
    scaled, decided = scale_per_prompt(scores)
    assert scaled.tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert decided.tolist() == [[True, False, True], [False, False, False]]
    logits = torch.randn(2, 3, requires_grad=True)
    routing_loss(logits, scores).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 1] == 0


def test_doubling_a_prompts_weight_doubles_its_share():
    logits, scores = torch.randn(2, 3), torch.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 0.0]])
    single = [routing_loss(logits[i : i + 1], scores[i : i + 1]).item() for i in range(2)]
    weighted = routing_loss(logits, scores, weights=torch.tensor([2.0, 1.0])).item()
    assert weighted == pytest.approx((2 * single[0] + single[1]) / 2, rel=1e-5)


def test_scores_shifted_and_stretched_give_the_same_loss():
    torch.manual_seed(1)
    logits, scores = torch.randn(5, 4), torch.rand(5, 4)
    assert routing_loss(logits, scores).item() == pytest.approx(
        routing_loss(logits, 0.3 * scores + 0.1).item(), rel=1e-4
    )


def test_the_reconstruction_loss_is_the_mean_over_its_targets_and_zero_without_any():
    logits, targets = torch.randn(5, 7), torch.tensor([0, 6, 3, 3, 1])
    expected = -logits.log_softmax(dim=1)[torch.arange(5), targets].mean()
    assert reconstruction_loss(logits, targets).item() == pytest.approx(expected.item(), rel=1e-5)
    assert reconstruction_loss(logits[:0], targets[:0]).item() == 0


def softmax(row):
    weights = [math.exp(value) for value in row]
    return [weight / sum(weights) for weight in weights]


def test_cross_entropy_shares_its_target_among_tied_best_candidates():
    logits, scores = torch.tensor([[0.5, -0.2, 1.0]]), torch.tensor([[0.9, 0.1, 0.9]])
    p = softmax([0.5, -0.2, 1.0])
    expected = -(math.log(p[0]) + math.log(p[2])) / 2
    assert routing_loss(logits, scores, objective="ce").item() == pytest.approx(expected, rel=1e-5)


def test_the_expected_regret_is_what_a_draw_from_the_softmax_loses_less_the_entropy():
    logits, scores = torch.tensor([[0.5, -0.2, 1.0]]), torch.tensor([[0.2, 0.4, 0.7]])
    p = softmax([0.5, -0.2, 1.0])
    expected = 0.7 - (0.2 * p[0] + 0.4 * p[1] + 0.7 * p[2]) + 0.05 * sum(x * math.log(x) for x in p)
    loss = routing_loss(logits, scores, objective="expected-regret", temperature=0.05).item()
    assert loss == pytest.approx(expected, rel=1e-5)
    certain = torch.tensor([[-90.0, -90.0, 90.0]])
    assert routing_loss(certain, scores, objective="expected-regret").item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_the_same_without_the_candidates_that_were_not_judged(objective):
    torch.manual_seed(2)
    logits = torch.randn(4, 3, requires_grad=True)
    scores = torch.rand(4, 3)
    plain = routing_loss(logits, scores, objective=objective)
    wider = torch.cat([logits, torch.randn(4, 1)], dim=1)
    with_missing = routing_loss(wider, torch.cat([scores, torch.full((4, 1), NAN)], dim=1), objective=objective)
    assert with_missing.item() == pytest.approx(plain.item(), rel=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_objective_learns_from_prompts_that_rank_nothing(objective):
    logits = torch.randn(3, 3, requires_grad=True)
    scores = torch.tensor([[0.0, 1.0, 0.5], [0.7, 0.7, 0.7], [NAN, 0.4, NAN]])
    loss = routing_loss(logits, scores, objective=objective)
    loss.backward()
    assert loss.item() == pytest.approx(routing_loss(logits[:1], scores[:1], objective=objective).item())
    assert logits.grad.isfinite().all()
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1:].abs().sum() == 0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_descending_any_objective_ranks_the_candidates(objective):
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.8, 0.2, 0.1]])
    logits = torch.zeros(2, 3, requires_grad=True)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(routing_loss(logits, scores, objective=objective), logits)
        logits = (logits - 2 * gradient).detach().requires_grad_()
    assert logits.argmax(dim=1).tolist() == [1, 0]


@pytest.mark.parametrize("objective", ["hinge", "mse", "forward-kl", "reverse-kl"])
def test_an_objective_that_is_not_in_the_table_is_refused_with_those_that_are(objective):
    with pytest.raises(ConfigurationError, match="'bce', 'ce' or 'expected-regret'"):
        ObjectiveSettings(routing=objective)


def test_targets_of_the_objective_that_compares_are_distributions():
    scores = torch.tensor([[0.1, NAN, 0.9, 0.9], [0.3, 0.3, NAN, 0.3]])
    targets = routing_targets(scores, ObjectiveSettings(routing="ce"))
    assert OBJECTIVES["ce"].has_distributions
    assert targets[0].nansum().item() == pytest.approx(1.0, rel=1e-6)
    assert targets.isnan().tolist() == [[False, True, False, False], [True] * 4]
