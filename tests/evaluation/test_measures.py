"""The measures against their definitions, where they are defined by hand, and on the howdy pool's BM25."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risedb.corpus import Row, read
from risedb.errors import InvalidInput
from risedb.evaluation import BM25, Ends, Quality, evaluate, unified

labels_and_k = st.tuples(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 30))


def whole(labels):
    labels = np.array(labels, dtype=bool)
    return Ends(labels, labels, len(labels), int(labels.sum()))


def by_definition(ranking, k):
    """Write the five measures out, with places and pairs counted one by one."""
    both = ranking if len(ranking) <= 2 * k else ranking[:k] + ranking[-k:]
    at = [rank for rank, positive in enumerate(both, 1) if positive]
    good, bad = [i for i, one in enumerate(both) if one], [i for i, one in enumerate(both) if not one]
    pairs = [(i, j) for i in good for j in bad]
    top = ranking[:k]
    return Quality(
        precision=sum(top) / len(top),
        recall=sum(top) / max(sum(ranking), 1),
        mrr=1 / (top.index(True) + 1) if any(top) else 0,
        auprc=sum(n / rank for n, rank in enumerate(at, 1)) / len(at) if at else 0,
        auroc=sum(i < j for i, j in pairs) / len(pairs) if pairs else (1 if good else 0.5),
    )


def close(quality):
    return [pytest.approx(getattr(quality, name), abs=1e-12) for name in Quality.__slots__]


def numbers(quality):
    return [getattr(quality, name) for name in Quality.__slots__]


@settings(max_examples=50)
@given(labels_and_k)
def test_measures_are_their_definitions(drawn):
    ranking, k = drawn
    assert numbers(Quality.of(whole(ranking), k)) == close(by_definition(ranking, k))


@settings(max_examples=50)
@given(labels_and_k, st.integers(0, 5))
def test_the_ends_alone_give_the_same_as_the_whole_ranking(drawn, more):
    ranking, k = drawn
    labels, kept = np.array(ranking), k + more
    ends = Ends(labels[:kept], labels[-kept:], len(labels), int(labels.sum()))
    assert Quality.of(ends, k) == Quality.of(whole(ranking), k)


@pytest.mark.parametrize(
    ("ranking", "auprc", "auroc"),
    [([False] * 8, 0.0, 0.5), ([True] * 8, 1.0, 1.0), ([False, False, True, True, False, False], 0.0, 0.5)],
    ids=["no positive", "no negative", "positives between the ends only"],
)
def test_degenerate_ends_have_the_values_that_the_design_gives_them(ranking, auprc, auroc):
    quality = Quality.of(whole(ranking), 2)
    assert (quality.auprc, quality.auroc) == (auprc, auroc)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30), st.integers(1, 20))
def test_equal_scores_stand_in_the_order_of_the_pool(rows, k):
    ranking = [label for _, label in sorted(rows, key=lambda row: -row[0])]  # a stable sort
    scores, labels = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    assert Quality.of(Ends.of_scores(scores, labels, k), k) == Quality.of(whole(ranking), k)


def test_a_mean_is_over_queries():
    (quality,) = evaluate([whole([True, False]), whole([False, True])], cuts=[1]).values()
    assert quality == Quality(precision=0.5, recall=0.5, mrr=0.5, auprc=0.75, auroc=0.5)


def test_unified_refuses_different_cuts():
    measured = evaluate([whole([True, False])], cuts=[1])
    assert unified(measured, measured).delta == 0
    with pytest.raises(InvalidInput, match=r"recall was measured at K = \[1\] and predict at \[\]"):
        unified(measured, {})


def test_bm25_finds_words_and_nothing_without_them():
    pool = BM25(["The cat sleeps.", "A dog barks at the cat, and the cat at the dog.", "Of the"])
    assert pool.scores("sleeps").argmax() == 0
    assert pool.scores("Dogs and a dog!").argmax() == 1
    assert pool.scores("dog dog")[1] == pytest.approx(2 * pool.scores("dog")[1])
    for nothing in ("zebra", "of the", ""):
        assert pool.scores(nothing).tolist() == [0, 0, 0]
    assert BM25(["of the", ""]).scores("cat").tolist() == [0, 0]


@pytest.mark.parametrize("package", ["bm25s", "sklearn"])
def test_a_missing_package_is_named(monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidInput, match=rf"needs {package}; install it with pip install 'risedb\[eval\]'"):
        evaluate([Ends.of_scores(BM25(["a cat"]).scores("cat"), np.array([True]), 1), whole([True, False])], cuts=[1])


@pytest.mark.shared
def test_bm25_on_howdy_is_what_a_reference_measured(shared):
    rows = {
        name: [row.values for row in read(shared / "data" / "howdy" / f"{name}.jsonl.zst") if isinstance(row, Row)]
        for name in ("pool", "queries")
    }
    texts = {
        name: [f"### Instruction:\n{row['prompt']}\n### Response:\n{row['completion']}" for row in some]
        for name, some in rows.items()
    }
    labels = np.array([row["label"] == 1 for row in rows["pool"]])
    pool = BM25(texts["pool"])
    measured = evaluate([Ends.of_scores(pool.scores(query), labels, 100) for query in texts["queries"]])
    assert [measured[k].auprc for k in (5, 10, 50, 100)] == pytest.approx([0.462, 0.469, 0.476, 0.482], abs=0.001)
