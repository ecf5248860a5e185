"""The report on the paper's measurements: its sentences follow from the numbers."""

import json
import re
from pathlib import Path

from benchmarks.fidelity import Claim, Paper, Run, claims, report
from benchmarks.fidelity.methods import METHODS
from benchmarks.reproduce import RESULTS, steps
from benchmarks.rivals import registry
from risedb.config import PRESETS

ROOT = Path(__file__).parents[2]
MACHINE = {"cores": 2, "processor": "a processor", "packages": {"torch": "2"}, "commit": "abc1234"}
CUTS = (5, 10, 50, 100)


def row(*auprc, **more):
    return {**{f"auprc@{k}": value for k, value in zip(CUTS, auprc, strict=True)}, **more}


def kept(**results):
    one = {"model": "tiny", "seconds": 1.0, "machine": MACHINE}
    return {name.replace("_", "-"): {**one, "result": result} for name, result in results.items()}


def howdy(bm25_at_100):
    costs = {"build_seconds": 2.0, "query_milliseconds": 3.0, "disk_bytes": 4e6}
    return kept(
        predict_howdy={
            "howdy": {"prospective": {"unit": row(0.8, 0.7, 0.6, 0.5), "unit, RH": row(0.7, 0.6, 0.5, 0.4)}}
        },
        predict_rivals_howdy={"bm25": row(0.4, 0.4, 0.4, bm25_at_100, **costs)},
    )


def claim(where, first, second, run):
    (one,) = [one for one in claims(Run(run), Paper()) if (one.where, *one.names) == (where, first, second)]
    return one


def test_a_claim_that_flips_gives_the_other_sentence():
    ahead, behind = (claim("howdy, predict", "RISE", "BM25", howdy(bm25)) for bm25 in (0.49, 0.51))
    assert ahead.holds is True
    assert ahead.sentence == "howdy, predict: RISE is ahead of BM25. In Table 23 it is for 7 of 7 models."
    assert behind.holds is False
    assert "RISE is not ahead of BM25 at K = 100 (0.500 against 0.510). In Table 23" in behind.sentence
    assert f"As in the paper:\n\n- {ahead.sentence}" in report(howdy(0.49), [])
    page = report(howdy(0.51), [])
    assert f"Where this model does not support the paper:\n\n- {behind.sentence}" in page
    assert page.count(behind.sentence) == 1


def test_equal_numbers_support_nothing():
    assert claim("howdy, predict", "RISE", "BM25", howdy(0.5)).holds is False


def test_a_rival_that_reads_the_model_has_other_numbers_in_recall():
    run = howdy(0.3) | kept(predict_rivals_howdy={"hidden": row(0.1, 0.1, 0.1, 0.1), "bm25": row(0.2, 0.2, 0.2, 0.2)})
    assert Run(run).rival("howdy", "recall", "hidden") == {}
    assert Run(run).rival("howdy", "recall", "bm25") == Run(run).rival("howdy", "predict", "bm25")


def test_what_was_not_measured_is_neither():
    one = claim("howdy, recall", "RISE", "BM25", howdy(0.1))
    assert (one.holds, one.points) == (None, [])
    counts = "Of 1 comparisons that the paper's tables decide and this run has, 1 come out as in the paper, 0 do not"
    assert counts in report(howdy(0.1), [])
    assert "Does it hold" not in report({}, [])


def test_what_the_paper_does_not_have_is_no_claim_of_it():
    one = claim("finance-medical, predict", "RISE", "BM25", {})
    assert not one.claimed
    assert one.sentence.endswith("In Table 27 it is for none of 7 models.")
    up, down = ({"K = 5": 1.0}, {"K = 5": 0.0}), ({"K = 5": 0.0}, {"K = 5": 1.0})
    assert [Claim("a", ("b", "c"), "d", pairs, up).claimed for pairs in ([up, down], [up, up, down])] == [False, True]


def test_only_what_the_papers_table_has_counts():
    paper = {"K = 5": 0.9}, {"K = 5": 0.8}
    one = Claim("a", ("b", "c"), "Table 9", [paper], ({"K = 5": 0.2, "K = 10": 0.1}, {"K = 5": 0.1, "K = 10": 0.3}))
    assert one.holds is True
    assert one.sentence == "a: b is ahead of c. In Table 9 it is."


def test_the_page_has_costs_paper_and_what_is_missing():
    page = report(howdy(0.3), ["lds"])
    assert "The model is tiny, in float32" in page
    assert "Not run yet: lds." in page
    assert "| BM25 | 2.0 | 3.0 | 4.0 |" in page
    assert "| paper: RISE, Pythia-14M | 0.859 | 0.805 | 0.646 | 0.575 | 0.791 |" in page
    assert "| paper: BM25 | 0.259 |" in page


def test_every_cost_and_every_step_names_its_machine():
    run = howdy(0.3)
    run["predict-rivals-howdy"] = {
        **run["predict-rivals-howdy"],
        "machine": {**MACHINE, "processor": "another", "threads": 1, "load": 3.5},
    }
    page = report(run, [])
    assert "- A: 2 cores of a processor, torch 2\n- B: 2 cores of another, torch 2\n" in page
    assert "Costs on machine B (threads 1, load 3.5):" in page
    assert "| predict-howdy | 1 | A |  |  | abc1234 |" in page
    assert "| predict-rivals-howdy | 1 | B | 1 | 3.5 | abc1234 |" in page


def test_a_rival_without_its_package_says_so():
    rows = {
        "rise": row(1, 1, 1, 1, rows=9, positives=3, queries=2, build_seconds=1, query_milliseconds=1, disk_bytes=1)
    }
    page = report(kept(sample_howdy={**rows, "trackstar": {"not_installed": "bergson"}}), [])
    assert "| TrackStar | needs bergson, which is not installed |" in page


def diagnosed(cosine_at_8=0.8, cosine_at_tau_2=0.8, base=0.97, by_hidden=0.9):
    def one(cosine):
        return {"cosine": cosine, "cosine_tau_1": cosine, "full_energy": 0.99}

    candidate = {"text": "Cat sleeps on blanket", "rh": 1, "paper_rh": 1, "gh": 1, "paper_gh": 2}
    sparsity = {
        "positions": 1000,
        "by_size": {"8": one(cosine_at_8), "16": one(0.9)},
        "by_temperature": {"1.0": one(0.9), "2.0": one(cosine_at_tau_2)},
    }
    diagnosis = {"controlled": [candidate], "sparsity": sparsity, "documents": 64, **widths(by_hidden)}
    channels = {"rh": {"median": 0.5}, "gh": {"median": 0.6}}
    ranking = {
        preset: {"rh+gh": {"median": median, "spread": 0.4, "error": 0.3, "expected": 0.8}, **channels}
        for preset, median in zip(PRESETS, (0.1, 0.2, base, 0.99), strict=True)
    }
    sizes = {"queries": 40, "documents": 200}
    return report(kept(diagnostics={"diagnosis": diagnosis, "pool_ranking": {**ranking, **sizes}}), [])


def widths(by_hidden):
    names = {"base": "128/24/128", "128/96/128": "128/96/128", "512/24/512": "512/24/512"}
    errors = {"error": 0.2, "predicted": 0.1, "token_exact": 0.3, "token_corrected": 0.4}
    ranking = {name: {"numbers": 6144, "median": 0.8, "over_seeds": [0.7, 0.9]} for name in names}
    ranking["128/96/128"]["median"] = by_hidden
    channels = {channel: dict.fromkeys(names.values(), errors) for channel in ("rh", "gh")}
    return {"ranking": ranking, "sketching": {"seeds": 8, **channels}}


def test_what_is_said_of_the_readout_follows_its_numbers():
    page = diagnosed(cosine_at_8=0.8, cosine_at_tau_2=0.8)
    assert "Of 1 candidates RH ranks 1 as in the paper, GH 0." in page
    assert "| 8 | 0.800 | 0.954 | 0.9900 |" in page
    assert "The cosine rises with K" in page
    assert "Best is tau = 1.0 by the first reading, 1.0 by the second" in page
    assert "on average 0.124 from the first reading's and 0.124 from" in page
    page = diagnosed(cosine_at_8=0.95, cosine_at_tau_2=0.95)
    assert "does not rise with K" in page
    assert "Best is tau = 2.0" in page


def test_what_sketches_do_to_a_ranking_follows_its_numbers():
    page = diagnosed(base=0.97)
    assert "| base | 6,144 | 0.970 | 0.500 | 0.600 | 0.400 | 0.300 | 0.800 |" in page
    assert "`base` has 0.970, which is enough, and noise of its size leaves 0.800; the smallest" in page
    assert "has enough is `base`" in page
    page = diagnosed(base=0.9)
    assert "`base` has 0.900, which is not enough" in page
    assert "has enough is `large`" in page
    assert "| 128/24/128 (base) | 6,144 | 0.800 | 0.700 to 0.900 | 0.200 | 0.100 | 0.300 | 0.400 |" in page
    assert "the measured error is 2.00 to 2.00 of the predicted one" in page
    assert "base is short of buckets for the hidden state" in page
    assert "base is short of" not in diagnosed(by_hidden=0.7)


def test_tables_that_contradict_one_another_are_named():
    assert "- RISE on Pythia-160M at K = 100: 0.758 in Table 21, 0.527 in Table 26" in report({}, [])
    assert "Pythia-2.8B at K" not in report({}, [])


def test_unified_is_the_mean_of_both_paradigms_and_half_their_distance():
    run = howdy(0.3) | kept(recall_howdy={"howdy": {"retrospective": {"unit": row(0.6, 0.5, 0.4, 0.3)}}})
    assert "0.550 ± 0.100 |" in report(run, [])


def test_every_step_is_one_of_the_programs_and_needs_one_that_comes_before(tmp_path):
    before = set()
    for step in steps(tmp_path, tmp_path, "model"):
        program = step.command[1].replace(".", "/") if step.command[0] == "-m" else step.command[0].removesuffix(".py")
        assert (ROOT / f"{program}.py").exists() or (ROOT / program / "__main__.py").exists()
        assert step.name not in before
        assert step.needs in {None, *before}
        before.add(step.name)


def test_the_best_choice_is_named_by_its_mean():
    page = report(howdy(0.3), [])
    assert (
        "for predict `unit` is RISE's best, 0.650 over the K, which is Algorithm 2's; best of the others: BM25" in page
    )
    assert "best of the others: BM25, 0.375." in page


def test_intervals_that_overlap_decide_nothing():
    def scored(low):
        return kept(
            lds={
                "subsets": 48,
                "documents": 500,
                "seeds": 1,
                "queries": 100,
                "methods": {
                    "rise": {"lds": 0.3, "low": low, "high": 0.4},
                    "random": {"lds": 0, "low": -0.1, "high": 0.1},
                },
            }
        )

    clear, open_ = (claim("brain-rot, linear datamodeling score", "RISE", "random", scored(low)) for low in (0.2, 0.1))
    assert (clear.holds, open_.holds) == (True, None)
    assert (
        "RISE is ahead of random: LDS (0.300 against 0.000); the intervals overlap. In Table 16 it is."
        in open_.sentence
    )
    page = report(scored(low=0.1), [])
    assert "0 do not, and 1 are undecided" in page
    assert f"Undecided:\n\n- {open_.sentence}" in page


def test_a_sample_with_few_positives_decides_nothing():
    def sampled(positives):
        rows = {"rise": row(0.1, 0.1, 0.1, 0.1), "tmc-shapley": row(0.7, 0.7, 0.7, 0.7)}
        run = kept(smallest_howdy={name: {**one, "positives": positives} for name, one in rows.items()})
        return claim("the smallest sample of howdy", "RISE", "TMC-Shapley", run)

    assert sampled(10).holds is False
    assert sampled(2).holds is None
    assert "against 0.700, 0.700, 0.700); 2 positives decide nothing. In Table 18" in sampled(2).sentence


def test_facts_stand_beside_table_17():
    rows = {"rise": {"mrr": 0.5, "recall@10": 0.6}, "bm25": {"mrr": 0.9, "recall@10": 1.0}}
    page = report(kept(trex={"pool": 20_000, "queries": 300, "methods": rows}), [])
    assert "| RISE | 0.500 | 0.437 | 0.600 | 0.516 |" in page
    assert "| BM25 | 0.900 |  | 1.000 |  |" in page


def weighed(positives, residual):
    energy = {"queries": 0.5, "positives": positives, "negatives": 0.6}
    choices = {"unit": row(0.8, 0.7, 0.6, 0.5), "residual": row(*[residual] * 4)}
    found = {"howdy": {"prospective": choices, "residual_energy": {"prospective": energy}}}
    return report(kept(predict_howdy=found), [])


def test_whether_weights_help_where_positives_surprise_is_counted():
    page = weighed(positives=0.7, residual=0.9)
    assert "| howdy, predict | 0.500 | 0.700 | 0.600 | 0.650 | 0.900 |" in page
    assert "Weights help in 1 of 1 cases, and positives surprise the model more than negatives in 1." in page
    assert "One goes with the other in 1." in page
    assert "in 0: that alone does not tell" in weighed(positives=0.7, residual=0.1)
    assert "in 1." in weighed(positives=0.5, residual=0.1)
    assert "Weights help" not in report(howdy(0.3), [])


def test_every_rival_is_named_explained_and_said_to_be_measured_or_not():
    assert METHODS.keys() >= registry.METHODS.keys()
    run = howdy(0.3)
    run["predict-rivals-howdy"]["result"]["bm25"] |= {"rows": 5000, "queries": 100}
    page = report(run, [])
    assert "| BM25 | `bm25` | words; bm25s, English stop words | 5,000 documents, 100 queries |" in page
    assert re.search("^. EK-FAC .*not measured", page, re.MULTILINE)


def test_the_kept_page_says_what_the_kept_numbers_say(tmp_path):
    numbers = json.loads((RESULTS / "fidelity.json").read_text())
    left = [step.name for step in steps(tmp_path, tmp_path, "model") if step.name not in numbers]
    assert report(numbers, left) == (RESULTS / "fidelity.md").read_text()
