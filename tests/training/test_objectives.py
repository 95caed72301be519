import math

import pytest
import torch

from lookahead_router.training.objectives import reconstruction_loss, routing_loss, scale_per_prompt

NAN = float("nan")


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
