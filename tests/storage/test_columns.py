"""Columns of records: the same answer as the records themselves, from fewer bytes."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from risedb.errors import Corrupt, InvalidInput
from risedb.storage.columns import OPERATORS, Columns, Condition, columns_bytes, text_form

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FIELDS = st.sampled_from(["a", "b", "", "source", "日本 語", "é.\0x"]) | UNICODE
NUMBERS = (
    st.integers(-3, 3)
    | st.integers()
    | st.sampled_from([10**400, -(10**255), 10**256, 2**53, 2**53 + 1, 1e308, -0.0, 1e-320, 1e16])
    | st.floats(allow_nan=False)
)
NUMBER_TEXTS = NUMBERS.map(json.dumps).filter(lambda text: "I" not in text)
TEXTS = (
    st.sampled_from(["x", "é" * 128, "é" * 129, "1_0", " 1", "+1", "1\n", "0x1", "٣", "01", "1e999", "NaN", "inf", "."])
    | UNICODE
    | NUMBER_TEXTS
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.one_of(*[SCALARS] * 9, st.lists(SCALARS, max_size=2), st.dictionaries(FIELDS, SCALARS, max_size=2))
RECORDS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=5), max_size=12)


@st.composite
def records_and_condition(draw):
    """Return records with a condition on a field and on texts that are likely to be theirs."""
    records = draw(RECORDS)
    field = draw(st.sampled_from(sorted({name for record in records for name in record})) if any(records) else FIELDS)
    there = [text_form(record[field]) for record in records if field in record]
    operator = draw(st.sampled_from(OPERATORS))
    if operator in {"=", "!=", "in"}:
        value = st.sampled_from(there) | TEXTS if there else TEXTS
        values = tuple(draw(st.lists(value, max_size=3))) if operator == "in" else (draw(value),)
    else:
        values = (draw(NUMBER_TEXTS),)
    return records, Condition(field, operator, values)


@given(records_and_condition())
@example(([{"n": "1e999"}, {"n": 1e308}], Condition("n", ">", ("1e308",))))
@example(([{"n": "1\n"}], Condition("n", "<=", ("1",))))
@example(([{}, {"a": 1}, {}], Condition("a", "!=", ("2",))))
def test_mask_is_what_the_records_say(case):
    records, condition = case
    truth = [condition.matches(record) for record in records]
    mask = Columns(columns_bytes(iter(records))).mask(condition)
    values = [record[condition.field] for record in records if condition.field in record]
    if all(is_short_scalar(value) for value in values) and len(condition.field.encode()) <= 256:
        assert mask is not None, "the field has a column"
    if mask is not None:
        assert mask.dtype == np.bool_
        assert mask.tolist() == truth


def is_short_scalar(value):
    return not isinstance(value, list | dict) and len(text_form(value).encode()) <= 256


@given(st.lists(st.dictionaries(FIELDS, SCALARS, max_size=4), max_size=8))
def test_columns_depend_on_records_as_json_keeps_them(records):
    kept = [json.loads(json.dumps(record)) for record in records]
    assert columns_bytes(kept) == columns_bytes(records)


@pytest.mark.parametrize("value", [["a"], {"a": 1}, "x" * 257, "é" * 129, 10**256])
def test_a_field_with_one_unfit_value_has_no_column_and_others_keep_theirs(value):
    columns = Columns(columns_bytes([{"f": "a", "g": 1}, {"f": value, "g": 2}, {"f": "a"}]))
    assert columns.mask(Condition("f", "=", ("a",))) is None
    assert columns.mask(Condition("g", "=", ("2",))).tolist() == [False, True, False]
    assert columns.mask(Condition("never", "!=", ("2",))).tolist() == [False] * 3


def test_rows_with_ever_new_fields_keep_the_file_small_and_the_answers_right():
    records = [{"same": i, f"key {i}": "x" * 256, "y" * i: 1} for i in range(2000)]
    data = columns_bytes(records)
    assert len(data) < 3_000_000
    columns = Columns(data)
    assert columns.mask(Condition("same", "<", ("3",))).sum() == 3
    for field in ("key 0", "key 200", "key 1999", "y" * 3, "y" * 1999, "in no row"):
        condition = Condition(field, "!=", ("",))
        mask = columns.mask(condition)
        if mask is not None:
            assert mask.tolist() == [condition.matches(record) for record in records]
    assert columns.mask(Condition("key 1999", "!=", ("",))) is None
    assert columns.mask(Condition("in no row", "!=", ("",))) is None, "its name may be one of those that were not kept"


def test_a_field_left_out_without_its_name_never_gets_a_column_later():
    records = [{f"list {i}": [] for i in range(256)} | {"z": []}, {"z": "x"}]
    condition = Condition("z", "!=", ("y",))
    assert condition.matches(records[0])
    assert Columns(columns_bytes(records)).mask(condition) is None


@pytest.mark.parametrize("text", ["0", "-0", "0.50", "1e5", "1E+5", "-1.5e-300", "123456789012345678901234567890"])
def test_numbers_are_those_that_json_writes(text):
    condition = Condition("n", ">=", ("-2",))
    assert condition.matches({"n": text})
    assert Columns(columns_bytes([{"n": text}])).mask(condition).tolist() == [True]


@pytest.mark.parametrize(
    "text", ["", "01", "+1", ".5", "1.", "1_0", "0x1", " 1", "1 ", "1\n", "٣", "NaN", "Infinity", "true"]
)
def test_no_other_text_is_a_number(text):
    condition = Condition("n", ">=", ("-2",))
    assert not condition.matches({"n": text})
    assert Columns(columns_bytes([{"n": text}])).mask(condition).tolist() == [False]


def test_any_arrow_reader_sees_the_texts():
    table = pa.ipc.open_file(columns_bytes([{"a": 1, "b": "x"}, {"a": None}, {"a": "1", "b": [1]}])).read_all()
    assert table.schema.field("a").type == pa.dictionary(pa.int32(), pa.utf8())
    assert table.to_pydict() == {"a": ["1", "null", "1"]}
    assert json.loads(table.schema.metadata[b"risedb"]) == {"rows": 3, "unindexed": ["b"]}


def test_nothing_of_a_mapped_file_is_copied(tmp_path):
    file = tmp_path / "columns.arrow"
    file.write_bytes(columns_bytes([{"id": f"document {i}"} for i in range(10_000)]))
    mapped = np.memmap(file, np.uint8, "r")
    before = pa.total_allocated_bytes()
    columns = Columns(mapped)
    assert pa.total_allocated_bytes() - before < 10_000
    assert columns.mask(Condition("id", "=", ("document 77",))).nonzero()[0].tolist() == [77]


@given(st.data())
def test_damaged_bytes_are_an_error_or_an_answer(data):
    whole = columns_bytes([{"a": i % 3, "b": f"x{i}", "c": i / 7} for i in range(50)])
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, len(whole) // 2, len(whole) - 1]) | st.just(len(whole)))
    with contextlib.suppress(Corrupt):
        columns = Columns(bytes(damaged[:cut]), "pool/columns.arrow")
        for condition in (Condition("a", "=", ("1",)), Condition("b", "!=", ("x2",)), Condition("c", "<", ("3",))):
            columns.mask(condition)


@pytest.mark.parametrize("damaged", [b"", b"ARROW1", columns_bytes([{"a": 1}])[:-1], b"x" * 1000])
def test_what_is_no_such_file_is_named(damaged):
    with pytest.raises(Corrupt, match=r"pool/columns.arrow cannot be read: .*Run risedb verify"):
        Columns(damaged, "pool/columns.arrow")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("a", "~", ("1",)), "'~' compares nothing"),
        (("a", "=", ("1", "2")), "takes one value, not 2"),
        (("a", "<", ()), "takes one value, not 0"),
        (("a", "<", ("x",)), "compares numbers, and 'x' is none"),
        (("a", ">=", ("NaN",)), "compares numbers"),
        (("a", "=", ("\udcff",)), "no valid Unicode"),
        (("\ud800", "=", ("a",)), "no valid Unicode"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(parts, message):
    with pytest.raises(InvalidInput, match=message):
        Condition(*parts)


def test_arrow_is_not_imported_until_columns_are_read():
    code = "import sys, risedb.storage, risedb.database.where; print('pyarrow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
