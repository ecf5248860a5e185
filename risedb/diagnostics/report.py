"""All diagnostics of one model on one sample, as one value and one JSON object."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from risedb.config import PRESETS, ReadoutConfig, SketchConfig
from risedb.diagnostics.controlled import Candidate, controlled_ranks
from risedb.diagnostics.factors import Factors
from risedb.diagnostics.layers import LayerProfile, profile_layers
from risedb.diagnostics.positions import Positions
from risedb.diagnostics.ranking import THRESHOLD, Advice, RankFidelity, advise, measure_ranking
from risedb.diagnostics.sketching import Sketching, measure_sketching
from risedb.diagnostics.sparsity import Sparsity, measure_sparsity
from risedb.errors import InvalidInput
from risedb.featurize import LanguageModel, Tokens

OTHER_WIDTHS = ("128/8/128", "128/96/128", "32/24/32", "512/24/512")
"""Triples beside the presets: base with another Kh, and with other Kr and Kg."""
LEAST_DOCUMENTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found."""

    model: str
    """What the model was loaded by."""
    documents: int
    """Documents in the sample."""
    positions: int
    """Positions that count in them."""
    readout: ReadoutConfig
    """How signatures are made."""
    sparsity: Sparsity
    """Figure 3, Tables 10 and 12."""
    layers: tuple[LayerProfile, ...]
    """Figures 2 and 5; with a second model, 4 and 6."""
    sketching: Sketching
    """Appendix D."""
    ranking: dict[str, RankFidelity]
    """Presets by name, other triples as Kr/Kh/Kg."""
    controlled: tuple[Candidate, ...]
    """Table 1."""
    advice: Advice
    """The smallest preset that keeps the ranking."""

    def as_json(self) -> str:
        """Return one JSON object; what is not defined is null."""
        return json.dumps(_without_nan(asdict(self)), indent=1, ensure_ascii=False) + "\n"


def diagnose(  # noqa: PLR0913  the choices of a diagnosis
    name: str,
    model: LanguageModel,
    documents: Sequence[Tokens],
    *,
    readout: ReadoutConfig | None = None,
    threshold: float = THRESHOLD,
    against: tuple[str, LanguageModel, Sequence[Tokens]] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Run all diagnostics.

    Parameters
    ----------
    name, model
        What it was loaded by, and the model.
    documents
        The sample as the model reads it, each with at least one position that counts.
    readout
        How signatures are made; its `factor_norm` and `gh_through` are not used: factors are those of Algorithm 2.
    threshold
        Median Spearman at which a ranking counts as kept.
    against
        A second model with its name, such as the same one fine-tuned, and the sample as it reads it.
    progress
        Told what begins.

    Raises
    ------
    InvalidInput
        If there are fewer than eight documents.
    UnsupportedModel
        If the model's layers cannot be told apart.
    """
    readout = readout or ReadoutConfig()
    if len(documents) < LEAST_DOCUMENTS:
        msg = f"the sample has {len(documents)} documents; a diagnosis needs at least {LEAST_DOCUMENTS}"
        raise InvalidInput(msg)
    progress(f"reading {len(documents)} documents")
    positions = Positions.read(model, documents, readout)
    progress("supports and what they keep")
    sparsity = measure_sparsity(model, positions, readout)
    progress("rankings with and without sketches")
    widths = {name: SketchConfig.parse(name) for name in (*PRESETS, *OTHER_WIDTHS)}
    ranking = measure_ranking(Factors.of(model, positions, readout), widths)
    progress("sketching errors and whole gradients")
    sketching = measure_sketching(model, documents, readout, list(widths.values()))
    progress("gradients and hidden states, layer by layer")
    layers = [profile_layers(name, model, documents, readout)]
    if against is not None:
        progress(f"the same of {against[0]}")
        layers.append(profile_layers(*against, readout))
    return Diagnosis(
        model=name,
        documents=len(documents),
        positions=len(positions),
        readout=readout,
        sparsity=sparsity,
        layers=tuple(layers),
        sketching=sketching,
        ranking=ranking,
        controlled=tuple(controlled_ranks(model, readout=readout)),
        advice=advise({preset: ranking[preset] for preset in PRESETS}, threshold),
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
