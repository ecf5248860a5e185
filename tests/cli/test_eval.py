"""``risedb eval`` as a person runs it, against the ranking of ``db.scores`` measured by hand."""

import json

import numpy as np
import pytest

import risedb
from risedb.evaluation import Ends, evaluate
from tests.cli.test_cli import risedb_cli, write  # noqa: F401  a fixture

PETS = ["The cat sleeps on the blanket.", "A kitten dozes on the sofa.", "The dog sleeps in the sun.", "A cat purrs."]
LOCKS = ["Acquire the lock and release it.", "Return the number of bytes.", "Close the socket.", "Raise an error."]
POOL = [
    {"id": str(i), "text": text, "label": int(i % 2 == 0), "kind": ["pet", "lock"][i % 2]}
    for i, text in enumerate([text for pair in zip(PETS, LOCKS, strict=True) for text in pair])
]
QUERIES = [{"id": "a", "text": "The cat is asleep on a sofa."}, {"id": "b", "text": "Kittens sleep in the sun."}]


@pytest.fixture
def index(risedb_cli, tmp_path):  # noqa: F811
    write(tmp_path / "queries.jsonl", QUERIES)
    pool = write(tmp_path / "pool.jsonl", POOL)
    assert risedb_cli("add", "pool.rise", pool, "--model", "demo", "--preset", "compact").code == 0
    return "pool.rise"


def test_eval_measures_the_rankings_that_scores_give(risedb_cli, index):  # noqa: F811
    for cuts, options, choices in (
        ([1, 2], [], {}),
        ([3], ["--lambda-rh", 2, "--no-normalize"], {"lambda_rh": 2, "normalize": False}),
        ([2, 5], ["--channel", "gh", "--center"], {"lambda_rh": 0, "center": True}),
        ([1], ["--where", "id < 6"], {"where": "id < 6"}),
    ):
        arguments = ["--label", "label", "--cuts", ",".join(map(str, cuts)), *options]
        result = json.loads(risedb_cli("eval", index, "queries.jsonl", *arguments, "--json").out)
        with risedb.open(index) as db:
            (part,) = db.scores([query["text"] for query in QUERIES], **choices)
            labels = np.array([int(name) % 2 == 0 for name in part.ids])
        expected = evaluate([Ends.of_scores(scores, labels, 8) for scores in part.scores.T], cuts)
        assert (result["documents"], result["positives"], result["queries"]) == (len(labels), labels.sum(), 2)
        at = result["methods"]["RISE"]["at"]
        assert {int(k): at[k]["auprc"] for k in at} == {k: quality.auprc for k, quality in expected.items()}
        assert {int(k): at[k]["mrr"] for k in at} == {k: quality.mrr for k, quality in expected.items()}


def test_eval_prints_a_table_with_bm25(risedb_cli, index):  # noqa: F811
    done = risedb_cli("eval", index, "queries.jsonl", "--label", 'kind in (pet, "a fish")', "--cuts", "2,1", "--bm25")
    lines = done.out.splitlines()
    assert lines[0] == '8 documents, 4 of them (50.0%) with kind in (pet, "a fish"); means over 2 queries'
    assert lines[2].split() == ["K", "precision", "recall", "MRR", "auPRC", "auROC"]
    assert [line.split()[0] for line in lines[3:7]] == ["RISE", "2", "BM25", "2"]
    assert lines[5].split() == ["BM25", "1", "1.000", "0.250", "1.000", "1.000", "1.000"]
    assert lines[-1] == "A ranking by chance has a precision of 0.500 at every K."


def test_eval_names_what_it_cannot_use(risedb_cli, index):  # noqa: F811
    for arguments, message in (
        (["--label", "colour"], "of 8 documents in pool.rise, none has colour in (1, true); there is nothing to find"),
        (["--label", "kind=", "--cuts", "5"], "the condition 'kind=' is not field=value: a value after '=' is missing"),
        (["--label", "label", "--cuts", "5,0"], "--cuts '5,0' is not a list of numbers from 1 on"),
    ):
        done = risedb_cli("eval", index, "queries.jsonl", *arguments)
        assert (done.code, done.err.startswith(f"risedb: {message}")) == (2, True), done.err
