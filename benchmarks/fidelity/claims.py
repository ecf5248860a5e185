"""What the paper's tables say of RISE and of what stands beside it, as claims that a run may support or not."""

from collections.abc import Iterator

from benchmarks.fidelity.claim import Claim, Curve
from benchmarks.fidelity.methods import title
from benchmarks.fidelity.paper import Paper
from benchmarks.fidelity.run import Run

LONG_TABLES = {
    "howdy": {"predict": 23, "recall": 22},
    "finance-medical": {"predict": 27, "recall": 26},
    "brain-rot": {"predict": 31, "recall": 30},
}
"""All methods of the Pythia models."""
CHANNEL_TABLES = {"predict": 20, "recall": 21}
IN_PAPER = {
    "bm25": "BM25",
    "embedding": "Embedding Similarity (E5-base-v2)",
    "rapidin": "RapidIn",
    "zo-inf": "ZO-Inf",
    "trackstar": "TrackStar",
}
CHANNELS = {"RH": ("rh", "unit, RH"), "GH": ("gh", "unit, GH"), "RH+GH": ("rh+gh", "unit")}
"""What a channel is called in Tables 20 and 21, and here."""

FEWEST_POSITIVES = 10
"""In a sample that decides something."""
SAMPLES = {
    "sample-howdy": "a sample of howdy",
    "sample-brain-rot": "a sample of brain-rot",
    "smallest-howdy": "the smallest sample of howdy",
}
"""Steps that measure the dear methods, and what the report calls what they rank."""


def claims(run: Run, paper: Paper) -> Iterator[Claim]:
    """Yield every claim, whether it was measured or not."""
    for pool, tables in LONG_TABLES.items():
        for paradigm, table in tables.items():
            yield from _ahead_of_texts(run, paper, pool, paradigm, table)
        both = [run.choices(pool, paradigm).get("unit", {}) for paradigm in ("recall", "predict")]
        pairs = zip(*(paper.every(tables[paradigm], "RISE") for paradigm in ("recall", "predict")), strict=True)
        where = f"Tables {tables['recall']} and {tables['predict']}"
        yield Claim(pool, ("RISE at recall", "RISE at predict"), where, list(pairs), tuple(both))
    for paradigm in CHANNEL_TABLES:
        yield from _channels(run, paper, "finance-medical", paradigm)
    rise = run.choices("howdy", "predict").get("unit", {})
    for method, name in (("hidden", "Last"), ("input-embedding", "Embed")):
        here = rise, run.rival("howdy", "predict", method)
        yield Claim("howdy, predict", ("RISE", title(method)), "Table 13", paper.pairs(13, "RISE", name), here)
    yield from _on_samples(run, paper)
    yield from _beyond_ranking(run, paper)


def _ahead_of_texts(run: Run, paper: Paper, pool: str, paradigm: str, table: int) -> Iterator[Claim]:
    rise = run.choices(pool, paradigm).get("unit", {})
    for method in ("bm25", "embedding"):
        names, here = ("RISE", title(method)), (rise, run.rival(pool, paradigm, method))
        pairs = paper.pairs(table, "RISE", IN_PAPER[method])
        yield Claim(f"{pool}, {paradigm}", names, f"Table {table}", pairs, here)


def _channels(run: Run, paper: Paper, pool: str, paradigm: str) -> Iterator[Claim]:
    measured, table = run.choices(pool, paradigm), CHANNEL_TABLES[paradigm]
    for names in (("GH", "RH"), ("RH+GH", "RH"), ("RH+GH", "GH")):
        (in_table, ours), (other_in_table, other) = (CHANNELS[name] for name in names)
        here = measured.get(ours, {}), measured.get(other, {})
        pairs = paper.pairs(table, in_table, other_in_table)
        yield Claim(f"{pool}, {paradigm}", names, f"Table {table}", pairs, here)


def _on_samples(run: Run, paper: Paper) -> Iterator[Claim]:
    def claim(step: str, methods: tuple[str, str], table: int, pairs: list[tuple[Curve, ...]]) -> Claim:
        first, second = methods
        here = run.curve(step, first), run.curve(step, second)
        positives = run.result(step).get(first, {}).get("positives", FEWEST_POSITIVES)
        unsure = f"{positives} positives decide nothing" if positives < FEWEST_POSITIVES else ""
        return Claim(SAMPLES[step], (title(first), title(second)), f"Table {table}", pairs, here, unsure=unsure)

    for method in ("rapidin", "zo-inf", "trackstar"):
        yield claim("sample-howdy", ("rise", method), 23, paper.pairs(23, "RISE", IN_PAPER[method]))
    in_table_14 = {
        "rise": "RISE (RH+GH)",
        "head-exact": "LM-head exact cosine",
        "sparse-rh-exact": "Sparse RH exact (no sketch)",
        "rise-rh": "Sparse RH + CountSketch",
    }
    for both in (("rise", "head-exact"), ("sparse-rh-exact", "head-exact"), ("sparse-rh-exact", "rise-rh")):
        pair = tuple(paper.curve(14, in_table_14[one]) for one in both)
        yield claim("sample-howdy", both, 14, [pair])
    sketched = tuple(paper.curve(9, "Howdy", name) for name in ("RISE", "Grad-Sketch"))
    yield claim("sample-howdy", ("rise", "grad-sketch"), 9, [sketched])
    for method, name, model in (("logra", "LoGra", "Pythia-1B"), ("ek-fac", "EK-FAC", "Pythia-160M")):
        pair = tuple(paper.curve(19, one, model) for one in ("RISE", name))
        yield claim("sample-brain-rot", ("rise", method), 19, [pair])
    for method, name in (("tmc-shapley", "TMC-Shapley"), ("g-shapley", "G-Shapley")):
        yield claim("smallest-howdy", ("rise", method), 18, paper.pairs(18, "RISE", name))


def _beyond_ranking(run: Run, paper: Paper) -> Iterator[Claim]:
    found = run.methods("lds")
    scores = {name: {"LDS": row["lds"]} for name, row in found.items()}
    for method, name in (("random", "Random"), ("hidden", "Final hidden-state cosine")):
        pair = tuple({"LDS": paper.row(16, one)["LDS"]} for one in ("RISE", name))
        here = scores.get("rise", {}), scores.get(method, {})
        unsure = "the intervals overlap" if all(here) and _overlap(found["rise"], found[method]) else ""
        where = "brain-rot, linear datamodeling score"
        yield Claim(where, ("RISE", title(method)), "Table 16", [pair], here, unsure=unsure)
    traced = {
        name: {"MRR": row["mrr"], "recall@10": row["recall@10"]} for name, row in run.methods("trex-sample").items()
    }
    pair = tuple(paper.row(17, name, "20K") for name in ("RISE", "TrackStar"))
    here = traced.get("rise", {}), traced.get("trackstar", {})
    yield Claim("a sample of facts", ("RISE", title("trackstar")), "Table 17", [pair], here)
    loop = run.methods("closed-loop")
    for method, name in (("random", "Random"), ("bm25", "BM25")):
        chosen, other = ({"purity": loop[one]["purity"]} if loop else {} for one in ("rise", method))
        pair = tuple({"purity": paper.row(4, one)["purity %"] / 100} for one in ("RISE", name))
        names = ("RISE's selection", f"that of {title(method)}")
        yield Claim("closed loop", names, "Table 4", [pair], (chosen, other), "purer than")
        other, chosen = ({"perplexity": loop[one]["control_perplexity"]} if loop else {} for one in (method, "rise"))
        pair = tuple({"perplexity": paper.row(4, one)["control perplexity"]} for one in (name, "RISE"))
        names, ahead = (
            (f"control text after the selection of {title(method)}", "after RISE's"),
            "harder to predict than",
        )
        yield Claim("closed loop", names, "Table 4", [pair], (other, chosen), ahead)


def _overlap(one: Curve, other: Curve) -> bool:
    return one["low"] <= other["high"] and other["low"] <= one["high"]
