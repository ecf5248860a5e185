"""The report: which claims hold here, then this run's numbers beside the paper's."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.fidelity.claim import Claim, Curve
from benchmarks.fidelity.claims import IN_PAPER, LONG_TABLES, SAMPLES, claims
from benchmarks.fidelity.methods import METHODS, title
from benchmarks.fidelity.paper import Paper, by_k
from benchmarks.fidelity.readout import readout
from benchmarks.fidelity.run import PARADIGMS, Run
from benchmarks.fidelity.table import beside, number, table
from benchmarks.rivals.task import POOLS
from risedb.evaluation import Unified

OF_PAPER = ("Pythia-14M", "Pythia-6.9B")
"""Its smallest and its largest model with tables of all pools."""
INTRODUCTION = """\
# The paper's measurements, here

Numbers of this run beside those of arXiv:2604.16197v1. The model is {model}, in float32 unless a method says otherwise.
Signatures are 128/24/128 at 256 tokens (the paper reads 512), other options as in the paper's Table 6; nothing was
chosen by looking at the queries. `predict` is the model as it was, `recall` the same after three epochs on the pool.
`python -m benchmarks.reproduce` writes this page; its sentences are made of the numbers.
"""
POOL = """\
## {pool}: 5,000 documents, 100 queries

auPRC over the K best and the K worst, the mean over the queries. RISE by the norm of its factors (`unit` as in
Algorithm 2, `residual`: weighted by the residual's, `none`: raw), with the pool's mean subtracted (`centred`), by one
channel, and with GH through the input embeddings. The paper's rows are of Tables {predict} and {recall}. `unified`, as
in its Table 3, is the mean of both paradigms and half their distance.
"""
COSTS = """\
Costs on {where}: building, one query where all are asked together, with the passes over its own text, and what lies on
disk, the model apart{more}.
"""
WEIGHTS = """\
## Whom weights by the residual help

Mean |r|^2 of a position, 0 where the next token is foreseen and 2 at most, in up to a hundred documents of each kind;
and auPRC, the mean over the K, with one weight for all positions (`unit`) and with weights by |r| (`residual`).
"""
DATAMODELING = """\
## Linear datamodeling score, brain-rot (Table 16)

Spearman's correlation, over {subsets} halves of {documents} documents, of the sum of a half's scores with what training
on it does to a query's loss (trainings a half: {seeds}), the mean over {queries} queries; `low` and `high` are a 95 %
interval over halves and queries. The paper has 128 halves of 2,000 documents, three trainings each, and Pythia-1B.
"""
TRACING = """\
## Fact tracing, {pool:,} statements, {queries} queries (Table 17: 20,000)

Each query states a fact in other words than the one statement of it that is to be found; `object` takes the query's
loss on the fact's object alone. Subject and object are written alike in both: whatever compares words has it easy. The
paper's candidates are sentences of Wikipedia, and its model is Pythia-1B.
"""
LOOP = """\
## Closed loop, brain-rot (Table 4)

Each method selects {selected} of {pool:,} texts, {control} of which are control texts; the model goes on training on
its selection for {epochs} epochs. Perplexities are of texts that were kept out; `base` is the model before. The paper's
OLMo-3-32B selects 5,000 of 50,000 texts, on which Pythia-1B trains for twenty.
"""
DISAGREEMENTS = """\
## Where the paper's tables differ from one another

Two tables with one measurement, but for the sketches' widths, and where they are farthest apart:
"""
SAME = (((20, "rh+gh"), (27, "RISE")), ((21, "rh+gh"), (26, "RISE")), ((18, "RISE"), (23, "RISE")))
"""Rows of one measurement, but for the sketches' widths: a table and the name in it, twice."""


def report(kept: Mapping[str, Mapping[str, Any]], left: Sequence[str], paper: Paper | None = None) -> str:
    """Return the whole page, Markdown.

    Parameters
    ----------
    kept
        What finished steps found, by their names.
    left
        Steps that have not run.
    paper
        The paper's tables.
    """
    run, paper = Run(kept), paper or Paper()
    models = {step["model"] for step in kept.values()}
    parts = [INTRODUCTION.format(model=", ".join(sorted(models))), _left(left), *_claims(list(claims(run, paper)))]
    parts += _methods(run)
    for pool in POOLS:
        parts += _pool(run, paper, pool)
    parts += [
        *_weights(run),
        *_rivals(run),
        *readout(run, paper),
        *_beyond(run, paper),
        _disagreements(paper),
        _times(run),
    ]
    return "\n".join(part for part in parts if part)


def _left(left: Sequence[str]) -> str:
    return f"Not run yet: {', '.join(left)}.\n" if left else ""


def _claims(every: Sequence[Claim]) -> Iterator[str]:
    measured = [one for one in every if one.points]
    if not measured:
        return
    groups = {
        "As in the paper": [one for one in measured if one.claimed and one.holds],
        "Where this model does not support the paper": [one for one in measured if one.claimed and one.holds is False],
        "Undecided": [one for one in measured if one.claimed and one.holds is None],
        "Not claimed by the paper, whose tables have it for half of their models at most": [
            one for one in measured if not one.claimed
        ],
    }
    held, not_held, undecided, unclaimed = (len(group) for group in groups.values())
    yield (
        f"## Does it hold?\n\nOf {held + not_held + undecided} comparisons that the paper's tables decide and this run "
        f"has, {held} come out as in the paper, {not_held} do not, and {undecided} are undecided; {unclaimed} more the "
        "paper's own tables do not decide for RISE. One that holds does so at every K that the table has. Samples are "
        "smaller than the pools of the paper's tables, but for Table 14's.\n"
    )
    for heading, group in groups.items():
        if group:
            yield f"{heading}:\n\n" + "".join(f"- {one.sentence}\n" for one in group)


def _methods(run: Run) -> Iterator[str]:
    if run.kept:
        yield "## What is compared\n"
        rows = [(name, f"`{method}`", what, run.largest(method)) for method, (name, what) in METHODS.items()]
        yield table(("", "`--methods`", "what it is", "largest run here"), rows, text=4)


def _pool(run: Run, paper: Paper, pool: str) -> list[str]:
    tables, rivals = LONG_TABLES[pool], run.result(f"predict-rivals-{pool}")
    choices = {paradigm: run.choices(pool, paradigm) for paradigm in tables}
    if not rivals and not any(choices.values()):
        return []
    cuts = [f"K = {k}" for k in POOLS[pool]]
    rows = []

    def add(name: str, both: Sequence[Curve]) -> None:
        """Add a row of what predict and recall have at each K."""
        means = [mean(curve.values()) if curve else None for curve in both]
        unified = "" if None in means else str(Unified.of(*reversed(means)))
        rows.append([name, *(number(curve.get(key)) for curve in both for key in cuts), unified])

    for name in choices["predict"] or choices["recall"]:
        add(f"RISE, {name}", [choices[paradigm].get(name, {}) for paradigm in tables])
    others = {
        paradigm: {title(name): run.rival(pool, paradigm, name) for name in rivals if name != "rise"}
        for paradigm in tables
    }
    for name in others["predict"]:
        add(name, [others[paradigm][name] for paradigm in tables])
    for method in ("RISE", "TrackStar", "RapidIn", "ZO-Inf"):
        for model in OF_PAPER:
            add(f"paper: {method}, {model}", [paper.curve(one, model, method) for one in tables.values()])
    for method in (IN_PAPER["bm25"], IN_PAPER["embedding"]):
        add(f"paper: {method}", [paper.curve(one, None, method) for one in tables.values()])
    head = ("", *(f"{paradigm} {key}" for paradigm in tables for key in cuts), "unified")
    return [
        POOL.format(pool=pool, **tables),
        table(head, rows),
        *_best(choices, others),
        *_costs(run, f"predict-rivals-{pool}"),
    ]


def _best(choices: Mapping[str, Mapping[str, Curve]], others: Mapping[str, Mapping[str, Curve]]) -> Iterator[str]:
    """Say which of RISE's choices and which other method rank best; known afterwards, by the queries themselves."""
    for paradigm, curves in choices.items():
        if means := {name: mean(curve.values()) for name, curve in curves.items()}:
            best = max(means, key=means.__getitem__)
            other = "which is Algorithm 2's" if best == "unit" else f"and Algorithm 2's `unit` has {means['unit']:.3f}"
            said = f"Known afterwards: for {paradigm} `{best}` is RISE's best, {means[best]:.3f} over the K, {other}"
            if beside := {name: mean(curve.values()) for name, curve in others[paradigm].items() if curve}:
                best = max(beside, key=beside.__getitem__)
                said += f"; best of the others: {best}, {beside[best]:.3f}"
            yield f"{said}.\n"


def _costs(run: Run, step: str) -> Iterator[str]:
    """Yield what a step's methods cost, with their auPRC where they ranked a sample."""
    if not (rows := run.result(step)):
        return
    curves = {method: by_k(row) if step in SAMPLES else {} for method, row in rows.items()}
    more = list(dict.fromkeys(key for curve in curves.values() for key in curve))
    yield COSTS.format(where=run.ran_on(step), more="; before them auPRC at each K" * bool(more))
    head = ("", *more, "build s", "ms a query", "disk MB")
    lines = []
    for method, row in rows.items():
        name, curve = title(method), curves[method]
        if "not_installed" in row:
            lines.append((name, f"needs {row['not_installed']}, which is not installed", *[""] * (len(head) - 2)))
            continue
        costs = row["build_seconds"], row["query_milliseconds"], row["disk_bytes"] / 1e6
        lines.append((name, *(number(curve.get(key)) for key in more), *(number(value, 1) for value in costs)))
    yield table(head, lines)


def _weights(run: Run) -> Iterator[str]:
    rows, surprising, helped = [], [], []
    for pool, paradigm in ((pool, paradigm) for pool in POOLS for paradigm in PARADIGMS):
        energy, choices = run.energy(pool, paradigm), run.choices(pool, paradigm)
        if energy:
            unit, weighted = (mean(choices[name].values()) for name in ("unit", "residual"))
            surprising.append(energy["positives"] > energy["negatives"])
            helped.append(weighted > unit)
            numbers = (energy["queries"], energy["positives"], energy["negatives"], unit, weighted)
            rows.append((f"{pool}, {paradigm}", *map(number, numbers)))
    if not rows:
        return
    yield WEIGHTS
    yield table(("", "queries", "positives", "negatives", "`unit`", "`residual`"), rows)
    alike = sum(one == other for one, other in zip(surprising, helped, strict=True))
    yield (
        f"Weights help in {sum(helped)} of {len(rows)} cases, and positives surprise the model more than negatives in "
        f"{sum(surprising)}. One goes with the other in {alike}"
        f"{'.' if alike == len(rows) else ': that alone does not tell whether weights help.'}\n"
    )


def _rivals(run: Run) -> Iterator[str]:
    for step, name in SAMPLES.items():
        rows = run.result(step)
        measured = [row for row in rows.values() if "rows" in row]
        if measured:
            one = measured[0]
            size = f"{one['rows']} documents ({one['positives']} positives), {one['queries']} queries"
            yield f"## {name.capitalize()}: {size}\n"
            yield from _costs(run, step)


def _beyond(run: Run, paper: Paper) -> Iterator[str]:
    if rows := run.methods("lds"):
        names = {"rise": "RISE", "hidden": "Final hidden-state cosine", "random": "Random"}
        theirs = {name: paper.row(16, of_paper) for name, of_paper in names.items()}
        yield DATAMODELING.format(**run.result("lds"))
        yield beside(rows, theirs, {"lds": "LDS", "low": "low", "high": "high"})
    for step in ("trex", "trex-sample"):
        if rows := run.methods(step):
            found, names = run.result(step), {"rise": "RISE", "trackstar": "TrackStar"}
            theirs = {name: paper.row(17, of_paper, "20K") for name, of_paper in names.items()}
            yield TRACING.format(**found)
            yield beside(rows, theirs, {"mrr": "MRR", "recall@10": "recall@10"})
    if rows := run.methods("closed-loop"):
        names = {"base": "Base Model", "random": "Random", "bm25": "BM25", "rise": "RISE", "embedding": "Embed Sim"}
        theirs = {name: paper.row(4, of_paper) for name, of_paper in names.items()}
        columns = {
            "purity %": "purity %",
            "control_perplexity": "control perplexity",
            "junk_perplexity": "junk perplexity",
        }
        shares = {
            one: {**row, "purity %": 100 * row["purity"]} if "purity" in row else row for one, row in rows.items()
        }
        found = run.result("closed-loop")
        yield LOOP.format(**found, epochs=found["recipe"]["epochs"])
        yield beside(shares, theirs, columns, digits=1)


def _disagreements(paper: Paper) -> str:
    """Say where two of the paper's tables report one measurement by numbers that are far apart."""
    lines = []
    for (one, its_name), (other, other_name) in SAME:
        for model in paper.models(one):
            first, second = paper.curve(one, model, its_name), paper.curve(other, model, other_name)
            key = max(first.keys() & second.keys(), key=lambda k: abs(first[k] - second[k]), default=None)
            if key and abs(first[key] - second[key]) > 0.05:
                numbers = f"{first[key]:.3f} in Table {one}, {second[key]:.3f} in Table {other}"
                lines.append(f"- RISE on {model} at {key}: {numbers}\n")
    return f"{DISAGREEMENTS}\n" + "".join(lines) if lines else ""


def _times(run: Run) -> str:
    if not run.kept:
        return ""
    rows = [
        (
            name,
            number(one["seconds"], 0),
            run.machines.letter(one["machine"]),
            *(str(one["machine"].get(key, "")) for key in ("threads", "load", "commit")),
        )
        for name, one in run.kept.items()
    ]
    busy = (
        "Where the load is above the threads, other programs ran too, and times are longer than on a free machine; so "
        "they are where a step was held for another measurement."
    )
    head = ("step", "seconds", "machine", "threads", "load", "commit")
    return f"## What was run\n\n{run.machines.legend()}\n{busy}\n\n" + table(head, rows)
