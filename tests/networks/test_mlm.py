import pytest
import torch
from conftest import NETWORKS, bert_config, make_network, network_config
from transformers import AutoModel, ElectraConfig, RobertaConfig

from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.mlm import LookaheadMLM
from lookahead_router.networks.packing import packed_positions

IDS = torch.tensor([[0, 0, 2, 20, 21, 3], [2, 14, 15, 16, 17, 3]])
MASK = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
SLOTS = torch.randint(13, 23, (2, 3, 4), generator=torch.Generator().manual_seed(0))


def test_shapes_are_candidates_slots_and_hidden(network):
    scores, latents = network(IDS, MASK)
    assert scores.shape == (2, 3)
    assert latents.shape == (2, 3, 4, 32)
    assert network.reconstruct(latents[0, 0]).shape == (4, network.backbone.get_input_embeddings().weight.shape[0])


def test_block_positions_restart_after_the_prompt():
    assert packed_positions(MASK, n_blocks=2, block_length=3).tolist() == [
        [0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5, 6],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8],
    ]


def test_each_block_is_its_mid_in_every_slot_and_a_separator(network, monkeypatch):
    seen = []
    encode = network._encode
    monkeypatch.setattr(network, "_encode", lambda *tensors: seen.append(tensors) or encode(*tensors))
    network(IDS, MASK)
    assert seen[0][2][1].tolist() == [[5, 5, 5, 5, 3], [6, 6, 6, 6, 3], [7, 7, 7, 7, 3]]


def test_reconstruction_goes_through_the_input_embedding(network):
    names = [name for name, _ in network.named_parameters()]
    assert not [name for name in names if "decoder" in name]
    before = network.reconstruct(torch.ones(1, 32))
    with torch.no_grad():
        network.backbone.get_input_embeddings().weight.mul_(2)
    assert not torch.allclose(before, network.reconstruct(torch.ones(1, 32)))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "bert-classifier"])  # which rebuilds nothing
def test_every_parameter_learns_from_the_joint_loss(name):
    network = make_network(name)
    output = network.train()(IDS, MASK, SLOTS)
    loss = output.score_logits.square().sum() + network.reconstruct(output.latents.flatten(0, 2)).square().mean()
    loss.backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert idle == []


def test_without_slots_it_is_a_classifier_of_the_prompt():
    network = LookaheadMLM(network_config(n_slots=0)).eval()
    scores, latents = network(IDS, MASK)
    assert scores.shape == (2, 3)
    assert latents.shape == (2, 3, 0, 32)


def test_a_backbone_without_position_ids_is_refused():
    class Relative(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return input_ids

    with pytest.raises(ConfigurationError, match=r"'bert' backbone takes no position_ids"):
        LookaheadMLM(network_config(), backbone=Relative())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            RobertaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
            "counts its positions",
        ),
        (
            ElectraConfig(vocab_size=64, embedding_size=16, hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
            "embeddings of 16 and states of 32",
        ),
    ],
    ids=["roberta", "electra"],
)
def test_a_backbone_that_would_run_on_wrong_positions_or_break_is_refused(config, message):
    with pytest.raises(ConfigurationError, match=message):
        LookaheadMLM(network_config(), backbone=AutoModel.from_config(config))


def test_the_untrained_pooler_is_dropped():
    assert "pooler" not in " ".join(LookaheadMLM(network_config(bert_config())).state_dict())
