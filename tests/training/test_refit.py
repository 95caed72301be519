import numpy as np
import pytest
import torch
from conftest import NETWORKS, make_network, make_tokenizer, toy_dataset

from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.batches import TokenizedDataset
from lookahead_router.training.recipe import ObjectiveSettings, RefitSettings
from lookahead_router.training.refit import fit_head, readout_states
from lookahead_router.training.trainer import predict_logits

OBJECTIVE = ObjectiveSettings(routing="ce")


@pytest.fixture
def tokenized():
    tokenizer = PromptTokenizer(make_tokenizer(), max_prompt_tokens=24, prefix=(2,), suffix=(3,), pad_token_id=0)
    return TokenizedDataset.build(toy_dataset(), tokenizer, 0, OBJECTIVE)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "bert-latents"])
def test_the_head_on_the_read_out_states_gives_the_networks_own_logits(name, tokenized):
    network = make_network(name)
    states = readout_states(network, tokenized, batch_size=16)
    with torch.inference_mode():
        logits = network.score_head(states).flatten(1).numpy()
    np.testing.assert_allclose(logits, predict_logits(network, tokenized, batch_size=16), rtol=0, atol=1e-5)


def test_a_new_head_learns_what_the_states_tell_and_leaves_the_old_one(tokenized):
    network = make_network("bert")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    best = torch.from_numpy(np.nanargmax(tokenized.scores, axis=1))
    noise = torch.randn(len(best), 32, generator=torch.Generator().manual_seed(0))
    states = 0.3 * noise + torch.nn.functional.one_hot(best, 32)
    settings = RefitSettings(n_epochs=20, learning_rate=1e-2, dropout=0.1)
    head = fit_head(network.score_head, states, tokenized, OBJECTIVE, settings, seed=0).eval()
    assert (head(states).argmax(dim=1) == best).float().mean() > 0.95
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert head.dropout.p == network.score_head.dropout.p


def test_the_same_seed_gives_the_same_head(tokenized):
    network = make_network("bert")
    states = readout_states(network, tokenized, batch_size=16)
    first, second = (
        fit_head(network.score_head, states, tokenized, OBJECTIVE, RefitSettings(n_epochs=2), seed=3) for _ in range(2)
    )
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
