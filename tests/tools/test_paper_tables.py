"""The paper's numbers as the reports read them."""

import json
from statistics import mean

import pytest

from tools.paper_tables import CONTENTS, TABLES, as_json, extract

KEPT = json.loads(TABLES.read_text())


def cell(table, column, *names):
    columns = KEPT[table]["columns"]
    (row,) = [row for row in KEPT[table]["rows"] if tuple(row[: len(names)]) == names]
    return row[columns.index(column)]


def test_the_kept_tables_are_what_the_text_says(shared):
    text = (shared / "paper" / "rise-2604.16197v1.txt").read_text()
    assert TABLES.read_text() == as_json(extract(text))


@pytest.mark.parametrize(
    ("table", "column", "names", "value"),
    [
        ("1", "rank GH", ["Feline dozing on coverlet"], 4),
        ("2", "build s", ["OLMo-3-32B", "RISE16/8/28"], 4.3 * 60),
        ("2", "auROC@50", ["OLMo-3-32B", "RapidIn"], None),
        ("3", "overall delta", ["Pythia-14M", "RISE"], 0.018),
        ("4", "control perplexity", ["Base Model"], 36.71),
        ("16", "low", ["Random"], -0.008),
        ("17", "recall@10", ["RISE", "20K"], 0.516),
        ("19", "seconds", ["LoGra", "Pythia-1B"], 99.1 * 60),
        ("22", "auPRC@50", ["Pythia-70M", "RapidIn"], 0.2085),
        ("31", "auROC@25", [None, "BM25"], 0.6739),
        ("35", "precision@100 %", ["BM25", "1.005M (464 pos, 0.046%)"], 5.2),
    ],
)
def test_cells_read_by_eye(table, column, names, value):
    assert cell(table, column, *names) == value


@pytest.mark.parametrize(
    ("pool", "recall", "predict"), [("howdy", "22", "23"), ("finance-medical", "26", "27"), ("brain-rot", "30", "31")]
)
@pytest.mark.parametrize("model", ["Pythia-6.9B", "Pythia-1B", "Pythia-14M"])
@pytest.mark.parametrize("method", ["RISE", "RapidIn", "TrackStar"])
def test_unified_scores_follow_from_the_long_tables(pool, recall, predict, model, method):
    measured = []
    for table in (recall, predict):
        auprc = [column for column in KEPT[table]["columns"] if column.startswith("auPRC")]
        measured.append(mean(cell(table, column, model, method) for column in auprc))
    assert cell("3", f"{pool} mu", model, method) == pytest.approx(mean(measured), abs=6e-4)
    assert cell("3", f"{pool} delta", model, method) == pytest.approx(abs(measured[0] - measured[1]) / 2, abs=6e-4)


def test_every_row_has_a_value_for_every_column():
    assert KEPT.keys() == {str(name) for name in CONTENTS}
    assert all(len(row) == len(table["columns"]) for table in KEPT.values() for row in table["rows"])


def test_a_row_that_the_text_lost_is_missed(shared):
    text = (shared / "paper" / "rise-2604.16197v1.txt").read_text()
    with pytest.raises(ValueError, match="Table 16 has 2 rows"):
        extract(text.replace("TrackStar LM-head 0.053", "TrackStar LM-head"))
