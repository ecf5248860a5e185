import subprocess
import sys
from datetime import date

import pytest
from datasets import Dataset, DatasetDict

from risedb.corpus import BadRow, Row, count_rows, read, read_dataset
from risedb.errors import InvalidInput, NotFound
from tests.corpus.rows import written

POOL = [{"id": f"{i}", "text": f"{i} cats", "tags": ["a", "b"]} for i in range(5)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    Dataset.from_list(POOL).save_to_disk(folder / "one")
    splits = DatasetDict(train=Dataset.from_list(POOL), test=Dataset.from_list(POOL[:2]))
    splits.save_to_disk(folder / "splits")
    return folder


def test_a_saved_dataset_reads_back_as_saved(saved):
    one = saved / "one"
    expected = [Row(f"{one}:{i}", row) for i, row in enumerate(POOL, 1)]
    assert list(read_dataset(one)) == list(read(one)) == expected
    assert count_rows(one) == 5


def test_a_split_is_read_by_its_name(saved):
    splits = saved / "splits"
    expected = [Row(f"{splits}[test]:{i}", row) for i, row in enumerate(POOL[:2], 1)]
    assert list(read_dataset(splits, "test")) == list(read(f"hf://{splits}:test")) == expected
    assert [row.place for row in read(splits)][-1] == f"{splits}[train]:5"
    assert (count_rows(splits), count_rows(f"hf://{splits}:test")) == (5, 2)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(saved):
    with pytest.raises(InvalidInput, match=r"has no split 'dev'; it has train, test"):
        read_dataset(saved / "splits", "dev")


def test_values_of_a_dataset_become_json(tmp_path):
    rows = [
        {"x": float("nan"), "day": date(2026, 4, 16), "raw": b"a"},
        {"x": 1.0, "day": date(2026, 4, 17), "raw": b"\xff"},
    ]
    Dataset.from_list(rows).save_to_disk(tmp_path)
    assert list(read_dataset(tmp_path)) == [
        Row(f"{tmp_path}:1", {"x": None, "day": "2026-04-16", "raw": "a"}),
        BadRow(f"{tmp_path}:2", "not UTF-8: byte 0xff at offset 0"),
    ]


def test_a_dataset_without_rows_is_refused(tmp_path):
    Dataset.from_dict({"text": []}).save_to_disk(tmp_path)
    with pytest.raises(InvalidInput, match=rf"^{tmp_path} holds no rows$"):
        list(read_dataset(tmp_path))


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(NotFound, match=r"neither a `Dataset` directory nor"):
        read_dataset(tmp_path)


def test_a_damaged_dataset_is_named(tmp_path):
    Dataset.from_list(POOL).save_to_disk(tmp_path)
    (arrow,) = tmp_path.glob("*.arrow")
    written(arrow, b"no arrow data")
    with pytest.raises(InvalidInput, match="cannot be read: "):
        read_dataset(tmp_path)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(NotFound, match=r"^nobody/nothing\[train\] cannot be read: [^\n]+$"):
        read("hf://nobody/nothing")


@pytest.mark.parametrize("name", ["hf://", "hf://:train"])
def test_a_hub_address_without_a_name_is_refused(name):
    with pytest.raises(InvalidInput, match="names no dataset"):
        read(name)


def test_without_the_library_the_message_says_what_to_install(monkeypatch, saved):
    monkeypatch.setitem(sys.modules, "datasets", None)  # what an import finds that is not installed
    with pytest.raises(InvalidInput, match=r"pip install 'risedb\[datasets\]'"):
        read_dataset(saved / "one")


def test_importing_corpus_loads_no_library_for_a_format():
    code = "import sys, risedb.corpus; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    heavy = {"pyarrow", "datasets", "torch", "transformers", "numpy", "zstandard"}
    assert not heavy & set(printed.decode().split())
