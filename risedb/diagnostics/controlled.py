"""The controlled experiment of arXiv:2604.16197v1, Table 1: whether GH sees past the words that a candidate shares."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from risedb.config import ReadoutConfig, ScoreConfig
from risedb.diagnostics.factors import Factors
from risedb.diagnostics.positions import Positions
from risedb.featurize import LanguageModel

QUERY = "The cat is sleeping on the blanket."
CANDIDATES = {
    "Cat sleeps on blanket": (1, 2),
    "Kitten napping on throw": (2, 1),
    "Tabby dozed on quilt": (3, 3),
    "Sleepy cat, blanket ad": (4, 5),
    "Cat food, blanket orders": (5, 6),
    "Feline dozing on coverlet": (6, 4),
    "Stock market crashed": (7, 7),
}
"""Table 1's candidates, with the ranks by RH and by GH that the paper has for Pythia-410M. The table abbreviates them:
they may not be the whole sentences that were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One candidate's ranks, 1 for the most similar."""

    text: str
    rh: int
    gh: int
    paper_rh: int | None
    paper_gh: int | None


def controlled_ranks(
    model: LanguageModel,
    query: str = QUERY,
    candidates: Sequence[str] = tuple(CANDIDATES),
    readout: ReadoutConfig | None = None,
) -> list[Candidate]:
    """Rank candidates by the cosine of each channel alone, unsketched, with Algorithm 2's unit factors.

    Examples
    --------
    >>> from risedb.featurize import load_model
    >>> ranks = controlled_ranks(load_model("demo"), candidates=["Stock market crashed", "The cat is sleeping."])
    >>> [(candidate.text, candidate.rh, candidate.gh) for candidate in ranks]
    [('Stock market crashed', 2, 2), ('The cat is sleeping.', 1, 1)]
    """
    readout = readout or ReadoutConfig()
    texts = [query, *candidates]
    positions = Positions.read(model, model.tokenizer.encode(texts, [0] * len(texts)), readout)
    grams = Factors.of(model, positions, readout).unit().grams()
    ranks = []
    for lambda_rh, lambda_gh in ((1.0, 0.0), (0.0, 1.0)):
        scores = grams.fused(ScoreConfig(lambda_rh=lambda_rh, lambda_gh=lambda_gh))[0, 1:]
        ranks.append((1 + torch.argsort(torch.argsort(scores, descending=True, stable=True))).tolist())
    return [
        Candidate(text=text, rh=rh, gh=gh, paper_rh=paper[0], paper_gh=paper[1])
        for text, rh, gh in zip(candidates, *ranks, strict=True)
        for paper in [CANDIDATES.get(text, (None, None))]
    ]
