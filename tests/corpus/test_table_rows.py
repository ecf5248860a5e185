import csv
import io
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from risedb.corpus import BadRow, Row, read_csv, read_parquet
from risedb.errors import InvalidInput, NotFound
from tests.corpus.rows import before_error, packed, packings, written

cells = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=8)
integers = st.integers(-(2**63), 2**63 - 1)


@st.composite
def tables(draw):
    columns = draw(st.lists(cells.filter(bool), min_size=1, max_size=4, unique=True))
    width = st.lists(cells, min_size=len(columns), max_size=len(columns))
    return columns, draw(st.lists(width, min_size=1, max_size=5))


@given(table=tables(), packing=packings, kind=st.sampled_from([".csv", ".tsv"]), mark=st.booleans())
def test_a_table_reads_back_as_written_with_the_lines_its_rows_start_on(folder, table, packing, kind, mark):
    columns, records = table
    path = folder / f"pool{kind}{packing}"
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t" if kind == ".tsv" else ",")
    writer.writerow(columns)
    expected = []
    for record in records:
        line = len(re.findall(r"\r\n|\r|\n", text.getvalue())) + 1
        expected.append(Row(f"{path}:{line}", dict(zip(columns, record, strict=True))))
        writer.writerow(record)
    data = text.getvalue().encode("utf-8-sig" if mark else "utf-8")
    written(path, packed(data, packing, len(data) // 2))
    assert list(read_csv(path)) == expected


def test_a_field_longer_than_the_default_limit_is_read(tmp_path):
    long = "cats " * 100_000
    path = written(tmp_path / "pool.csv", f"id,text\n1,{long}\n".encode())
    assert [row.values["text"] for row in read_csv(path)] == [long]


def test_a_delimiter_of_ones_own_is_used(tmp_path):
    path = written(tmp_path / "pool.csv", b"id;text\n1;a,b\n")
    assert list(read_csv(path, delimiter=";")) == [Row(f"{path}:2", {"id": "1", "text": "a,b"})]


def test_a_bad_line_of_a_table_is_named_and_the_next_is_read(tmp_path):
    lines = [b"id,text", b"1,a,b", b"2", b"", b"3,caf\xe9", b'4,"a"b', b"5,c", b'6,"open']
    path = written(tmp_path / "pool.csv", b"\n".join(lines) + b"\n")
    assert list(read_csv(path)) == [
        BadRow(f"{path}:2", "3 columns, where the header has 2"),
        BadRow(f"{path}:3", "1 columns, where the header has 2"),
        BadRow(f"{path}:5", "column 'text' is not UTF-8"),
        BadRow(f"{path}:6", "not CSV: ',' expected after '\"'"),
        Row(f"{path}:7", {"id": "5", "text": "c"}),
        BadRow(f"{path}:8", "not CSV: unexpected end of data"),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,text,id\n1,a,2\n", ": two columns are named 'id'"),
        (b",text\n0,a\n", ": column 1 has no name in the header"),
        (b"id,caf\xe9\n1,a\n", ": the name of column 2 is not UTF-8"),
        (b"id,text\n", " holds no rows"),
        (b"", " holds no rows"),
    ],
)
def test_a_table_without_a_header_or_rows_is_refused(tmp_path, data, message):
    path = written(tmp_path / "pool.csv", data)
    assert before_error(read_csv(path), InvalidInput) == ([], f"{path}{message}")


def test_a_cut_table_yields_the_rows_before(tmp_path):
    data = "id,text\n" + "".join(f"{i},{i * i} cats\n" for i in range(5000))
    path = written(tmp_path / "pool.csv.gz", packed(data.encode(), ".gz")[:-9])
    seen, message = before_error(read_csv(path), InvalidInput)
    assert [row.values["id"] for row in seen] == [str(i) for i in range(len(seen))]
    assert len(seen) > 1000
    assert "cannot be read to its end" in message


records = st.fixed_dictionaries(
    {
        "id": st.text(),
        "text": st.none() | st.text(),
        "n": st.none() | integers,
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "tags": st.lists(st.text(), max_size=3),
        "meta": st.fixed_dictionaries({"a": st.text(), "b": integers}),
    }
)


@given(pool=st.lists(records, min_size=1, max_size=5), group=st.integers(1, 3))
def test_parquet_reads_back_as_written(folder, pool, group):
    path = folder / "pool.parquet"
    parquet.write_table(pa.Table.from_pylist(pool), path, row_group_size=group)
    assert list(read_parquet(path)) == [Row(f"{path}:row {i}", row) for i, row in enumerate(pool, 1)]


def test_parquet_rows_are_numbered_on_over_batches(tmp_path):
    path = tmp_path / "pool.parquet"
    parquet.write_table(pa.table({"id": [str(i) for i in range(1, 1001)]}), path, row_group_size=300)
    seen = list(read_parquet(path))
    assert seen == [Row(f"{path}:row {i}", {"id": str(i)}) for i in range(1, 1001)]


def test_values_of_a_table_become_json(tmp_path):
    path = tmp_path / "pool.parquet"
    columns = {
        "moment": datetime(2026, 4, 16, 12, 30, tzinfo=UTC),
        "day": date(2026, 4, 16),
        "hour": time(12, 30),
        "span": timedelta(seconds=90),
        "price": Decimal("1.50"),
        "bytes": "café".encode(),
        "nan": float("nan"),
        "nested": {"days": [date(2026, 4, 16)]},
    }
    parquet.write_table(pa.table({name: [value] for name, value in columns.items()}), path)
    (row,) = read_parquet(path)
    assert row.values == {
        "moment": "2026-04-16T12:30:00+00:00",
        "day": "2026-04-16",
        "hour": "12:30:00",
        "span": "0:01:30",
        "price": "1.50",
        "bytes": "café",
        "nan": None,
        "nested": {"days": ["2026-04-16"]},
    }


def test_nanoseconds_are_kept(tmp_path):
    path = tmp_path / "pool.parquet"
    moment = pa.array([1_776_342_600_000_000_001], pa.timestamp("ns"))
    parquet.write_table(pa.table({"moment": moment}), path)
    (row,) = read_parquet(path)
    assert row.values == {"moment": "2026-04-16T12:30:00.000000001"}


def test_values_that_json_cannot_hold_are_bad_rows(tmp_path):
    path = tmp_path / "pool.parquet"
    table = {"x": [1.0, float("inf"), 2.0], "raw": [b"\xff", b"a", b"b"]}
    parquet.write_table(pa.table(table), path)
    assert list(read_parquet(path)) == [
        BadRow(f"{path}:row 1", "not UTF-8: byte 0xff at offset 0"),
        BadRow(f"{path}:row 2", "NaN or Infinity, which are not JSON"),
        Row(f"{path}:row 3", {"x": 2.0, "raw": "b"}),
    ]


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    path = written(tmp_path / "pool.parquet", b"no table")
    seen, message = before_error(read_parquet(path), InvalidInput)
    assert not seen
    assert message.startswith(f"{path} cannot be read: ")


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "pool.parquet"
    parquet.write_table(pa.table({"text": [f"cat {i}" for i in range(1000)]}), path)
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    seen, message = before_error(read_parquet(written(path, data)), InvalidInput)
    assert not seen
    assert message.startswith(f"{path} cannot be read: ")


def test_a_parquet_file_without_rows_or_with_a_name_twice_is_refused(tmp_path):
    path = tmp_path / "pool.parquet"
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert before_error(read_parquet(path), InvalidInput) == ([], f"{path} holds no rows")
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    parquet.write_table(twice, path)
    message = f"{path}: two columns are named 'text'"
    assert before_error(read_parquet(path), InvalidInput) == ([], message)


@pytest.mark.parametrize("reader", [read_csv, read_parquet])
def test_a_missing_table_is_refused_before_the_first_row(tmp_path, reader):
    with pytest.raises(NotFound, match=r"pool.csv does not exist$"):
        reader(tmp_path / "pool.csv")
