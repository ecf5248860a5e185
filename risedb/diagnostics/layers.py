"""Where in a model the signal is: gradient energy (Figures 2 and 4) and discriminativeness (Figures 5 and 6) by layer.

Readings of arXiv:2604.16197v1. Gradient energy, Section 2.2: E_c = |grad_{W_c} l|_F^2 / sum_c |grad_{W_c} l|_F^2 over
the embedding, the layers and the LM head; final norms and the head's bias belong to no W_c and are left out. C.3.1 says
that the section measures single tokens, so l is the loss at one position, drawn at random in each document; the loss of
whole documents is reported beside it, since that is what an influence adds up. E_c is the mean over the sample of each
loss's share; the head-to-average ratio of Eq. 7 is a ratio of means. Where head and embedding are one tied matrix, its
gradient is taken apart: the head's part is delta_z (x) h_t (Lemma C.1), the embedding's is the rest.

Discriminativeness, Section 2.2: the variance over all pairs i < j (population, not sample) of the cosine of two tokens'
hidden states, 1,000 tokens drawn from the positions that count. The last state is h_t, after the final norm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from risedb.config import ReadoutConfig
from risedb.diagnostics.gradients import LossGradients
from risedb.featurize import LanguageModel, Tokens

MOST_TOKENS = 1000
"""Tokens of which discriminativeness is measured, the paper's N."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientEnergy:
    """How the gradient's energy is spread over a model's blocks, in their order."""

    share: tuple[float, ...]
    """E_c of embedding, layers 1 to L, head: they sum to 1."""
    head_to_average: float
    """Mean energy of the head by that of an internal layer (Eq. 7, left side)."""
    gamma: float
    """Mean share of the head in the whole gradient, norms and biases included (gamma of Assumption D.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProfile:
    """One model, layer by layer."""

    model: str
    """What it was loaded by."""
    blocks: tuple[str, ...]
    """embedding, 1 to L, head."""
    token: GradientEnergy
    """Of the loss at one position a document."""
    document: GradientEnergy
    """Of the loss of each whole document."""
    states: tuple[str, ...]
    """embedding, 1 to L - 1, final."""
    discriminativeness: tuple[float, ...]
    """Variance of pairwise cosines of the hidden states."""


def profile_layers(
    name: str, model: LanguageModel, documents: Sequence[Tokens], readout: ReadoutConfig, seed: int = 42
) -> LayerProfile:
    """Measure gradients and hidden states of every layer on a sample; two backward passes a document.

    Raises
    ------
    UnsupportedModel
        If the model's layers cannot be told apart.
    """
    windows = [tokens.windows(readout)[0] for tokens in documents]
    gradients = LossGradients(model)
    generator = torch.Generator().manual_seed(seed)
    whole, single = [], []
    for window in windows:
        first = window.first_target
        position = int(torch.randint(first, len(window.ids), (1,), generator=generator))
        whole.append(_energies(gradients, window, None))
        single.append(_energies(gradients, window, position))
    layers = [str(layer) for layer in range(1, gradients.layers + 1)]
    return LayerProfile(
        model=name,
        blocks=("embedding", *layers, "head"),
        token=_gradient_energy(torch.stack(single)),
        document=_gradient_energy(torch.stack(whole)),
        states=("embedding", *layers[:-1], "final"),
        discriminativeness=tuple(
            discriminativeness(states) for states in _drawn_states(model, windows, generator).unbind(1)
        ),
    )


def discriminativeness(states: Tensor) -> float:
    """Return the variance of the cosines of all pairs of rows, (N, d) to a number (arXiv:2604.16197v1, Section 2.2)."""
    unit = torch.nn.functional.normalize(states.double(), dim=1)
    upper = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    return float((unit @ unit.T)[upper[0], upper[1]].var(correction=0))


def _energies(gradients: LossGradients, window: Tokens, position: int | None) -> Tensor:
    """Return |grad|^2 of embedding, layers, head and the rest: (L + 3,) float64."""
    return torch.tensor(
        [sum(float(part.double().square().sum()) for part in parts) for parts in gradients.of(window, position)],
        dtype=torch.float64,
    )


def _gradient_energy(energies: Tensor) -> GradientEnergy:
    """Summarise (n, L + 3) energies of embedding, layers, head and the rest."""
    blocks, head, layers = energies[:, :-1], energies[:, -2], energies[:, 1:-2]
    return GradientEnergy(
        share=tuple((blocks / blocks.sum(dim=1, keepdim=True)).mean(dim=0).tolist()),
        head_to_average=float(head.mean() / layers.mean()),
        gamma=float((head / energies.sum(dim=1)).mean()),
    )


@torch.no_grad()
def _drawn_states(model: LanguageModel, windows: Sequence[Tokens], generator: torch.Generator) -> Tensor:
    """Return the hidden states of at most 1,000 counted positions at every layer: (N, L + 1, d) float32."""
    counted = sum(len(window.ids) - window.first_target for window in windows)
    chosen = torch.zeros(counted, dtype=torch.bool)
    chosen[torch.randperm(counted, generator=generator)[:MOST_TOKENS]] = True
    rows, start = [], 0
    for window in windows:
        ids = torch.from_numpy(window.ids).to(model.device)[None]
        states = torch.stack(model.network(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states)
        here = chosen[start : start + len(window.ids) - window.first_target]
        start += len(here)
        rows.append(states[:, 0, window.first_target - 1 : -1][:, here.to(states.device)].float().transpose(0, 1))
    return torch.cat(rows)
