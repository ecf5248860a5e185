"""``risedb diagnose`` as a person runs it: the demo model, a small file, JSON and real PNGs."""

import json
import sys

import pytest

from tests.cli.test_cli import risedb_cli, write  # noqa: F401  a fixture

TEXTS = [
    "The cat sleeps on the blanket.", "Acquire the lock and release it.", "Return the number of bytes.",
    "Open a file for reading.", "A turtle turns right.", "Encode the message with base64.", "Sort the list in place.",
    "Parse the header.", "Close the socket.", "Raise an error.",
]  # fmt: skip


@pytest.fixture
def sample(tmp_path):
    return write(tmp_path / "sample.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(TEXTS)])


def test_diagnose_writes_json_and_plots_and_advises(risedb_cli, sample, tmp_path):  # noqa: F811
    done = risedb_cli(
        "diagnose", "--model", "demo", "--sample", sample, "--out", tmp_path / "out", "--documents", 8,
        "--against", "demo", "--threshold", -1,
    )  # fmt: skip
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("compact keeps the ranking: median Spearman")
    diagnosis = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert (diagnosis["documents"], diagnosis["advice"]["preset"]) == (8, "compact")
    assert diagnosis["readout"]["seq_len"] == 512
    assert [profile["model"] for profile in diagnosis["layers"]] == ["demo", "demo"]
    assert diagnosis["layers"][0] == diagnosis["layers"][1]
    assert list(diagnosis["sparsity"]["by_size"]) == ["8", "16", "32", "64", "128", "256"]
    plots = sorted((tmp_path / "out").glob("*.png"))
    assert [plot.stem for plot in plots] == [
        "bias", "discriminativeness", "layers", "ranking", "sketching", "support", "temperature",
    ]  # fmt: skip
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)


def test_diagnose_without_matplotlib_writes_json_and_says_what_to_install(risedb_cli, sample, monkeypatch):  # noqa: F811
    monkeypatch.delitem(sys.modules, "risedb.diagnostics.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = risedb_cli("diagnose", "--model", "demo", "--sample", sample, "--out", "out", "--json")
    assert done.code == 0
    assert "plots need pip install 'risedb[plots]'" in done.err
    assert json.loads(done.out) == json.loads((sample.parent / "out" / "diagnosis.json").read_text())
    assert not list((sample.parent / "out").glob("*.png"))


def test_diagnose_names_what_it_cannot_use(risedb_cli, sample, tmp_path):  # noqa: F811
    few = write(tmp_path / "few.jsonl", [{"text": text} for text in TEXTS[:3]])
    done = risedb_cli("diagnose", "--model", "demo", "--sample", few)
    assert (done.code, done.err) == (2, "risedb: the sample has 3 documents; a diagnosis needs at least 8\n")
    short = write(tmp_path / "short.jsonl", [{"text": text} for text in [*TEXTS, "a"]])
    done = risedb_cli("diagnose", "--model", "demo", "--sample", short)
    assert (done.code, "short.jsonl:11: no position to score" in done.err) == (2, True)
    done = risedb_cli("diagnose", "--model", "demo", "--sample", sample, "--out", sample / "out")
    assert (done.code, "cannot be written" in done.err) == (2, True)


def test_sample_is_drawn_from_the_whole_file_in_its_order(tmp_path):
    from risedb.corpus.sample import draw

    drawn, count = draw(iter(range(1000)), 50)
    assert count == 1000
    assert len(set(drawn)) == 50
    assert drawn == sorted(drawn)
    assert sum(row >= 500 for row in drawn) in range(10, 41)
    assert draw(iter(range(20)), 50) == (list(range(20)), 20)
