"""What the report says of the readout: the controlled experiment, supports, and what sketches do to a ranking."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.fidelity.paper import Paper
from benchmarks.fidelity.run import Run
from benchmarks.fidelity.table import number, table
from risedb.config import PRESETS
from risedb.diagnostics.ranking import THRESHOLD

SUPPORTS = """\
What supports of K tokens and the next one keep, at {positions:,} positions of howdy's documents: the mean cosine of GH
with the dense GH, and the share of |r|^2. The paper's numbers are means over eight models on brain-rot.
"""
RANKINGS = """\
Scores by sketches against scores without: Spearman over {documents} documents of howdy, the median of {queries}
queries. For both channels also how far a query's scores spread over the documents, how far the sketches move them
(standard deviations, medians over the queries), and the correlation that noise of that size leaves.
"""
WIDTHS = """\
The same for more widths, on {documents} documents, each against the others; and the relative error of GH's inner
products before normalisation, as measured over {seeds} seeds, as its exact variance predicts, and for one position in
each document by its exact variance and by Theorem D.1 (iii) with Eq. 19 in the place of Lemma D.2.
"""
WIDER_HIDDEN, WIDER_REST = "128/96/128", "512/24/512"
"""Base with four times the buckets for one factor, or for the others: as many numbers a document."""


def readout(run: Run, paper: Paper) -> Iterator[str]:
    """Yield the section's parts; none if the step has not run."""
    if not (found := run.result("diagnostics")):
        return
    yield "## Inside the readout\n"
    yield from _controlled(found["diagnosis"]["controlled"])
    sparsity = found["diagnosis"]["sparsity"]
    yield SUPPORTS.format(**sparsity)
    yield from _sizes(sparsity["by_size"], paper)
    yield from _temperatures(sparsity["by_temperature"], paper)
    yield from _rankings(found["pool_ranking"])
    yield from _widths(found)


def _controlled(candidates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    columns = ("rh", "paper_rh", "gh", "paper_gh")
    yield "Table 1: ranks of the candidates by each channel alone, 1 for the most similar.\n"
    rows = [(one["text"], *(str(one[key]) for key in columns)) for one in candidates]
    yield table(("candidate", "RH", "RH, paper", "GH", "GH, paper"), rows)
    rh, gh = (sum(one[key] == one[f"paper_{key}"] for one in candidates) for key in ("rh", "gh"))
    yield f"Of {len(candidates)} candidates RH ranks {rh} as in the paper, GH {gh}.\n"


def _sizes(by_size: Mapping[str, Mapping[str, float]], paper: Paper) -> Iterator[str]:
    yield "Table 10, by K at tau = 1.\n"
    rows = [
        (k, number(one["cosine"]), number(paper.row(10, k)["GH cosine"]), number(one["full_energy"], 4))
        for k, one in by_size.items()
    ]
    yield table(("K", "cosine", "cosine, paper", "energy"), rows)
    both = [one["cosine"] for one in by_size.values()], [paper.row(10, k)["GH cosine"] for k in by_size]
    here, there = ("rises" if cosines == sorted(cosines) else "does not rise" for cosines in both)
    yield f"The cosine {here} with K; in the paper it {there}.\n"


def _temperatures(by_tau: Mapping[str, Mapping[str, float]], paper: Paper) -> Iterator[str]:
    yield "Table 12, by tau at K = 128: cosines with the dense GH of the same tau, and with that of tau = 1.\n"
    rows = [
        (tau, number(one["cosine"]), number(one["cosine_tau_1"]), number(paper.row(12, tau)["GH cosine"]))
        for tau, one in by_tau.items()
    ]
    yield table(("tau", "same tau", "tau = 1", "paper"), rows)
    theirs = {tau: paper.row(12, tau)["GH cosine"] for tau in by_tau}
    readings = [{tau: one[key] for tau, one in by_tau.items()} for key in ("cosine", "cosine_tau_1")]
    same, first, best = (max(by_tau, key=cosines.__getitem__) for cosines in (*readings, theirs))
    away = [mean(abs(cosines[tau] - theirs[tau]) for tau in by_tau) for cosines in readings]
    yield (
        f"Best is tau = {same} by the first reading, {first} by the second, and {best} in the paper. Its cosines are "
        f"on average {away[0]:.3f} from the first reading's and {away[1]:.3f} from the second's.\n"
    )


def _rankings(found: Mapping[str, Any]) -> Iterator[str]:
    yield RANKINGS.format(**found)
    rows = []
    for preset, widths in PRESETS.items():
        numbers = widths[1] * (widths[0] + widths[2])
        both = found[preset]["rh+gh"]
        medians = (number(found[preset][channel]["median"]) for channel in ("rh+gh", "rh", "gh"))
        rows.append((preset, f"{numbers:,}", *medians, *(number(both[key]) for key in ("spread", "error", "expected"))))
    yield table(("", "numbers a document", "RH+GH", "RH", "GH", "spread", "moved by", "noise leaves"), rows)
    base, enough = found["base"]["rh+gh"], [name for name in PRESETS if found[name]["rh+gh"]["median"] >= THRESHOLD]
    yield (
        f"`risedb diagnose` counts a ranking as kept from {THRESHOLD:g} on. `base` has {base['median']:.3f}, which is "
        f"{'enough' if 'base' in enough else 'not enough'}, and noise of its size leaves {base['expected']:.3f}; "
        f"{f'the smallest preset that has enough is `{enough[0]}`' if enough else 'no preset has enough'}.\n"
    )


def _widths(found: Mapping[str, Any]) -> Iterator[str]:
    rankings, sketching = found["diagnosis"]["ranking"], found["diagnosis"]["sketching"]
    yield WIDTHS.format(documents=found["diagnosis"]["documents"], seeds=sketching["seeds"])
    rows = []
    for (name, one), (widths, errors) in zip(rankings.items(), sketching["gh"].items(), strict=True):
        seeds = " to ".join(number(end) for end in one["over_seeds"])
        kinds = (number(errors[key]) for key in ("error", "predicted", "token_exact", "token_corrected"))
        label = widths if name == widths else f"{widths} ({name})"
        rows.append((label, f"{one['numbers']:,}", number(one["median"]), seeds, *kinds))
    head = ("Kr/Kh/Kg", "numbers a document", "Spearman", "five seeds", "GH error", "predicted")
    yield table((*head, "one position", "Theorem D.1"), rows)
    ratios = [one["error"] / one["predicted"] for channel in ("rh", "gh") for one in sketching[channel].values()]
    narrow, hidden, rest = (sketching["gh"][widths]["error"] for widths in ("128/24/128", WIDER_HIDDEN, WIDER_REST))
    base, by_hidden, by_rest = (rankings[name]["median"] for name in ("base", WIDER_HIDDEN, WIDER_REST))
    short = ": base is short of buckets for the hidden state, Theorem D.1's term in 1/Kh" if by_hidden > by_rest else ""
    yield (
        f"Over all widths and both channels the measured error is {min(ratios):.2f} to {max(ratios):.2f} of the "
        f"predicted one. Four times base's buckets for the hidden state ({WIDER_HIDDEN}) take GH's error from "
        f"{narrow:.3f} to {hidden:.3f} and Spearman from {base:.3f} to {by_hidden:.3f}; four times those for residual "
        f"and projected error instead ({WIDER_REST}) take them to {rest:.3f} and {by_rest:.3f}{short}.\n"
    )
