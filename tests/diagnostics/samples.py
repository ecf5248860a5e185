"""A tiny model, a few documents of random tokens, and what the diagnostics read of them."""

import numpy as np
import torch

from risedb.config import ReadoutConfig
from risedb.diagnostics.positions import Positions
from risedb.featurize import LanguageModel, Tokens
from tests.featurize.models import byte_tokenizer, random_model

READOUT = ReadoutConfig(k_max=40, min_keep=2, rho_cum=0.8)


def language_model(name="GPTNeoX", *, double=False):
    model = random_model(name)
    return LanguageModel(model.double() if double else model, byte_tokenizer())


def documents(lengths=(9, 5, 12, 7, 4, 8, 6, 10), first_target=1):
    rng = np.random.default_rng(3)
    return [Tokens(rng.integers(1, 300, n), first_target) for n in lengths]


def read(model, tokens, readout=READOUT):
    """Return positions with their logits (N, V), targets, head and hidden states in float64 NumPy."""
    positions = Positions.read(model, tokens, readout)
    logits = torch.cat([logits for logits, _ in positions.with_logits(model)])
    arrays = [part.double().numpy() for part in (logits, model.head, positions.hidden)]
    return positions, arrays[0], positions.targets.numpy(), arrays[1], arrays[2]
