"""The one home of torch models: tokens, readout factors, sketches, signatures before normalisation."""

from risedb.featurize.checkpoint import load_model
from risedb.featurize.featurizer import Featurizer, Phi
from risedb.featurize.model import LanguageModel
from risedb.featurize.sketch import CountSketch, FactorSketches
from risedb.featurize.support import Support, active_support
from risedb.featurize.tokens import Tokenizer, Tokens

__all__ = [
    "CountSketch",
    "FactorSketches",
    "Featurizer",
    "LanguageModel",
    "Phi",
    "Support",
    "Tokenizer",
    "Tokens",
    "active_support",
    "load_model",
]
