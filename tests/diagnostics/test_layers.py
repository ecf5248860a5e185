"""Gradients against autograd on a copy with head and embedding apart; discriminativeness against loops."""

import copy

import numpy as np
import pytest
import torch

from risedb.diagnostics.gradients import LossGradients
from risedb.diagnostics.layers import discriminativeness, profile_layers
from risedb.diagnostics.positions import Positions
from risedb.errors import UnsupportedModel
from risedb.featurize import LanguageModel
from tests.diagnostics.samples import READOUT, documents, language_model
from tests.featurize.models import ARCHITECTURES, byte_tokenizer, random_model


def energies_of_an_untied_copy(name, window, position):
    """Return |grad|^2 of embedding, layers, head, rest of a copy in float64, by parameters' names."""
    model = copy.deepcopy(random_model(name)).double()
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    ids = torch.from_numpy(window.ids)
    logits = model(input_ids=ids[None], use_cache=False).logits[0]
    counted = [position] if position is not None else range(window.first_target, len(ids))
    sum(torch.nn.functional.cross_entropy(logits[t - 1], ids[t]) for t in counted).backward()
    blocks = np.zeros(model.config.num_hidden_layers + 3)
    for key, parameter in model.named_parameters():
        parts = key.split(".")
        if parameter is head.weight:
            block = -2
        elif any(part in {"embed_in", "embed_tokens", "wte", "wpe"} for part in parts):
            block = 0
        elif any(part in {"layers", "h"} for part in parts):
            block = 1 + int(next(part for part in parts if part.isdigit()))
        else:
            block = -1
        if parameter.grad is not None:
            blocks[block] += float(parameter.grad.square().sum())
    return blocks


@pytest.mark.parametrize("name", ["GPTNeoX", "GPT2", "Qwen3", "Gemma2", "Phi", "Mixtral"])
@pytest.mark.parametrize("position", [None, 5])
def test_energy_of_each_block_is_that_of_autograd(name, position):
    (window,) = documents((9,), first_target=3)
    blocks = LossGradients(language_model(name)).of(window, position)
    ours = [sum(float(part.double().square().sum()) for part in parts) for parts in blocks]
    assert ours == pytest.approx(energies_of_an_untied_copy(name, window, position), rel=1e-3)


def test_energy_of_the_head_at_one_position_is_that_of_equation_6():
    model = language_model(double=True)
    (window,) = documents((9,))
    positions = Positions.read(model, [window], READOUT)
    head = LossGradients(model).of(window, 4)[-2][0].double()
    logits = model.logits(positions.hidden[3:4])[0].double()
    residual = torch.softmax(logits, 0) - torch.nn.functional.one_hot(torch.tensor(window.ids[4]), 300)
    exact = residual.square().sum() * positions.hidden[3].square().sum()
    assert float(head.square().sum()) == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.parametrize("name", ["GPTNeoX", "GPT2"])
def test_gradient_of_a_document_is_the_sum_over_its_positions(name):
    gradients = LossGradients(language_model(name))
    (window,) = documents((5,))
    whole = gradients.of(window)
    single = [gradients.of(window, position) for position in range(1, 5)]
    for block, parts in enumerate(whole):
        for i, part in enumerate(parts):
            assert torch.allclose(part, sum(one[block][i] for one in single), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["GPTNeoX", "GPT2"])
def test_flat_gradient_is_that_of_the_models_own_parameters(name):
    model = language_model(name)
    (window,) = documents((6,))
    flat, head = LossGradients(model).flat(window)
    network, ids = model.network, torch.from_numpy(window.ids)
    network.zero_grad()
    logits = network(input_ids=ids[None], use_cache=False).logits[0]
    torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum").backward()
    own = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    assert len(flat) == sum(part.numel() for part in own)
    assert float(flat.norm()) == pytest.approx(float(torch.cat([part.flatten() for part in own]).norm()), rel=1e-4)
    assert len(head) == model.head.numel()


def test_frozen_parameters_stay_frozen_and_have_their_gradients():
    model = language_model()
    (window,) = documents((6,))
    free = LossGradients(model).flat(window)[0]
    model.network.requires_grad_(False)
    assert torch.equal(LossGradients(model).flat(window)[0], free)
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_a_model_without_its_layers_in_a_list_is_refused():
    model = random_model("Llama")
    checked = LanguageModel(model, byte_tokenizer())
    model.config.num_hidden_layers = 7
    with pytest.raises(UnsupportedModel, match="no list of 7 layers"):
        LossGradients(checked)


def test_profile_has_shares_that_sum_to_one_and_the_ratio_of_means():
    model, tokens = language_model(), documents(first_target=2)
    profile = profile_layers("tiny", model, tokens, READOUT)
    energies = np.array([energies_of_an_untied_copy("GPTNeoX", window, None) for window in tokens])
    blocks = energies[:, :-1]
    assert profile.blocks == ("embedding", "1", "2", "head")
    assert sum(profile.token.share) == pytest.approx(1)
    assert profile.document.share == pytest.approx((blocks / blocks.sum(axis=1, keepdims=True)).mean(axis=0), rel=1e-3)
    ratio = blocks[:, -1].mean() / blocks[:, 1:-1].mean()
    assert profile.document.head_to_average == pytest.approx(ratio, rel=1e-3)
    assert profile.document.gamma == pytest.approx((blocks[:, -1] / energies.sum(axis=1)).mean(), rel=1e-3)


def test_discriminativeness_is_the_variance_over_pairs():
    states = np.random.default_rng(0).standard_normal((6, 4))
    cosines = [
        states[i] @ states[j] / np.linalg.norm(states[i]) / np.linalg.norm(states[j])
        for i in range(6)
        for j in range(i + 1, 6)
    ]
    assert discriminativeness(torch.tensor(states)) == pytest.approx(np.var(cosines))
    assert discriminativeness(torch.eye(5)) == 0  # all alike: nothing to tell apart


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_last_state_is_what_enters_the_head(name):
    model, tokens = language_model(name), documents(first_target=2)
    profile = profile_layers(name, model, tokens, READOUT)
    entering = Positions.read(model, tokens, READOUT).hidden
    assert profile.states == ("embedding", "1", "final")
    assert profile.discriminativeness[-1] == pytest.approx(discriminativeness(entering), rel=1e-4)
