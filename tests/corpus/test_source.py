import json
import os
from itertools import islice

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from risedb.corpus import Row, count_rows, read, read_python_docs
from risedb.errors import InvalidInput, NotFound
from tests.corpus.rows import json_lines, packed, packings, rows, written

POOL = [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pool.jsonl", json_lines(POOL)),
        ("pool.NDJSON", json_lines(POOL)),
        ("pool.json", json.dumps(POOL).encode()),
        ("pool.csv", b"text\na\nb\n"),
        ("pool.tsv", b"text\na\nb\n"),
    ],
)
def test_a_file_is_read_by_how_its_name_ends(tmp_path, name, data, packing):
    path = written(tmp_path / (name + packing), packed(data, packing))
    assert [row.values for row in read(path)] == POOL
    assert count_rows(path) == (None if name == "pool.json" else 2)


def test_parquet_is_read_by_how_its_name_ends(tmp_path):
    parquet.write_table(pa.Table.from_pylist(POOL), tmp_path / "pool.parquet")
    assert [row.values for row in read(tmp_path / "pool.parquet")] == POOL
    assert count_rows(tmp_path / "pool.parquet") == 2


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_a_single_text_is_one_row_named_as_its_file(tmp_path, packing):
    path = written(tmp_path / f"a.txt{packing}", packed(b"one\ntwo\n", packing))
    assert list(read(path)) == [Row(str(path), {"id": f"a.txt{packing}", "text": "one\ntwo\n"})]
    assert count_rows(path) == 1


def test_a_folder_is_read_as_texts(tmp_path):
    written(tmp_path / "a.txt", b"a")
    written(tmp_path / "b.txt", b"b")
    assert [row.values["id"] for row in read(tmp_path)] == ["a.txt", "b.txt"]
    assert count_rows(tmp_path) == 2


def test_what_is_missing_or_unknown_is_refused_before_the_first_row(tmp_path):
    with pytest.raises(NotFound, match=r"pool.jsonl does not exist$"):
        read(tmp_path / "pool.jsonl")
    for name in ["pool.pdf", "pool", "pool.parquet.gz", "pool.jsonl.bz2"]:
        with pytest.raises(InvalidInput, match=r"no kind that is read: \.jsonl, .*\.parquet"):
            read(written(tmp_path / name, b""))


@given(pool=st.lists(rows, min_size=1, max_size=5), blank=st.integers(0, 3), packing=packings)
def test_the_count_is_never_less_than_the_rows(folder, pool, blank, packing):
    data = b"\n" * blank + json_lines(pool)
    path = written(folder / f"pool.jsonl{packing}", packed(data.rstrip(), packing))
    assert count_rows(path) == len(pool) + blank
    assert len(list(read(path))) == len(pool)


def test_a_quoted_line_end_is_counted_too(tmp_path):
    path = written(tmp_path / "pool.csv", b'text\n"a\nb"\nc\n')
    assert (len(list(read(path))), count_rows(path)) == (2, 3)


def test_what_cannot_be_counted_counts_as_unknown(tmp_path):
    assert count_rows("-") is None
    assert count_rows("hf://nobody/nothing") is None
    assert count_rows(tmp_path / "nowhere.jsonl") is None
    assert count_rows(written(tmp_path / "pool.pdf", b"")) is None
    assert count_rows(written(tmp_path / "pool.jsonl.gz", b"not gzip")) is None
    assert count_rows(written(tmp_path / "pool.parquet", b"not parquet")) is None
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert count_rows(tmp_path / "pipe.jsonl") is None


def test_reading_is_lazy(tmp_path):
    path = written(tmp_path / "pool.jsonl", json_lines(POOL * 50_000))
    reader = read(path)
    next(reader)
    with path.open("r+b") as file:  # cut behind what a buffer holds
        file.truncate(500_000)
    assert len(list(reader)) < 50_000


def test_the_python_docs_are_the_same_rows_each_time():
    first, again = (list(islice(read_python_docs(), 1000)) for _ in range(2))
    assert first == again
    assert len({row.values["id"] for row in first}) == 1000
