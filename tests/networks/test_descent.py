import numpy as np
import pytest
import torch

from lookahead_router.networks.descent import descend

ROWS = {"x": np.linspace(-1, 1, 50, dtype=np.float32)[:, None], "index": np.arange(50)}


def squares(p, rows):
    return ((rows["x"] @ p["w"] + p["b"] - 3 * rows["x"] - 1) ** 2).mean()


START = {"w": np.zeros((1, 1)), "b": np.zeros(1)}


def test_it_finds_the_minimum():
    found = descend(START, squares, ROWS, n_epochs=200, batch_size=10, learning_rate=0.1)
    assert found["w"] == pytest.approx(3, abs=0.01)
    assert found["b"] == pytest.approx(1, abs=0.01)
    assert found["w"].shape == (1, 1)
    assert found["w"].dtype == np.float32


def test_every_row_comes_once_an_epoch_in_an_order_of_the_seed():
    def batches(seed):
        seen = []

        def loss(p, rows):
            seen.append(rows["index"].tolist())
            return squares(p, rows)

        descend(START, loss, ROWS, n_epochs=2, batch_size=20, seed=seed)
        return seen

    seen = batches(0)
    assert [len(batch) for batch in seen] == [20, 20, 10] * 2
    for epoch in (seen[:3], seen[3:]):
        assert sorted(row for batch in epoch for row in batch) == list(range(50))
    assert seen[:3] != seen[3:]
    assert batches(0) == seen != batches(1)


def test_the_same_seed_gives_the_same_and_neither_start_nor_global_state_changes():
    before, start = torch.get_rng_state(), {name: value.copy() for name, value in START.items()}
    first = descend(START, squares, ROWS, n_epochs=2, seed=3)
    torch.manual_seed(99)
    torch.set_rng_state(before)
    second = descend(START, squares, ROWS, n_epochs=2, seed=3)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert all(np.array_equal(START[name], start[name]) for name in START)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_rate_falls_to_zero_along_a_cosine():
    """With a constant gradient Adam's step is the rate itself."""
    points = []

    def loss(p, rows):
        points.append(p["w"].item())
        return -p["w"].sum()

    end = descend({"w": np.zeros(1)}, loss, {"x": np.zeros(64)}, n_epochs=8, learning_rate=0.5)["w"][0]
    steps = np.diff([*points, end])
    np.testing.assert_allclose(steps, 0.25 * (1 + np.cos(np.pi * np.arange(8) / 8)), rtol=1e-5)


def test_weight_decay_draws_parameters_to_zero():
    def loss(p, rows):
        return (p["w"] * 0).sum()

    settings = {"n_epochs": 10, "learning_rate": 0.1}
    start = {"w": np.ones(3)}
    assert (descend(start, loss, ROWS, weight_decay=0.5, **settings)["w"] < 0.95).all()
    np.testing.assert_array_equal(descend(start, loss, ROWS, **settings)["w"], 1)
