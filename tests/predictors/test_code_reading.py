"""Whether a prompt asks for code: what is read, and how the reading is fitted."""

import numpy as np
import pytest

from lookahead_router.errors import DataError
from lookahead_router.predictors.code_reading import CodeReading
from lookahead_router.training.code_reading import fit_code_reading

N_TOKENS, WIDTH = 40, 6


def make_prompts(n: int, seed: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Embeddings, token ids and labels: tokens below 5 stand in requests for code alone; one number tells a little."""
    random = np.random.default_rng(seed)
    is_code = random.random(n) < 0.3
    embedding = random.normal(size=(n, WIDTH))
    embedding[:, 0] += np.where(is_code, 1.0, -1.0)
    rows = [
        np.concatenate([random.integers(5, N_TOKENS, random.integers(1, 12)), random.integers(0, 5, 2 * code)])
        for code in is_code.astype(int)
    ]
    return embedding / np.linalg.norm(embedding, axis=1, keepdims=True), rows, is_code


def read(reading: CodeReading, embedding: np.ndarray, rows: list[np.ndarray]) -> np.ndarray:
    return reading.joined(np.empty((len(rows), 0)), embedding, reading.by_tokens(rows))[:, 0]


def test_code_is_read_off_tokens_and_embedding():
    embedding, rows, is_code = make_prompts(400, seed=0)
    reading = fit_code_reading(embedding, rows, is_code, N_TOKENS)
    embedding, rows, is_code = make_prompts(200, seed=1)
    found = read(reading, embedding, rows)
    assert ((found > 0.5) == is_code).mean() > 0.97
    assert ((found >= 0) & (found <= 1)).all()
    without = read(CodeReading(reading.embedding, np.zeros(N_TOKENS), reading.bias), embedding, rows)
    assert ((without > 0.5) == is_code).mean() < 0.95


def test_a_prompt_is_read_the_same_alone_and_among_others():
    embedding, rows, is_code = make_prompts(50, seed=0)
    reading = fit_code_reading(embedding, rows, is_code, N_TOKENS)
    alone = [read(reading, embedding[k : k + 1], rows[k : k + 1])[0] for k in range(len(rows))]
    np.testing.assert_array_equal(read(reading, embedding, rows), alone)
    assert np.isfinite(read(reading, embedding[:1], [np.array([], dtype=int)])).all()


def test_the_reading_is_the_last_of_the_demands():
    embedding, rows, is_code = make_prompts(50, seed=0)
    reading = fit_code_reading(embedding, rows, is_code, N_TOKENS)
    demands = reading.joined(np.ones((50, 3)), embedding, reading.by_tokens(rows))
    np.testing.assert_array_equal(demands[:, :3], 1)
    np.testing.assert_array_equal(demands[:, 3], read(reading, embedding, rows))


@pytest.mark.parametrize("value", [True, False])
def test_prompts_of_one_kind_tell_nothing(value):
    embedding, rows, _ = make_prompts(20, seed=0)
    with pytest.raises(DataError, match="that ask for code"):
        fit_code_reading(embedding, rows, np.full(20, value), N_TOKENS)
