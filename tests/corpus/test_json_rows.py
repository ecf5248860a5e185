import json
import struct
import subprocess
import sys
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from risedb.corpus import BadRow, Row, read_json, read_jsonl
from risedb.errors import InvalidInput, NotFound
from tests.corpus.rows import before_error, frame, json_lines, packed, packings, rows, written

MANY = [{"id": f"{i}", "text": f"{i * i} cats"} for i in range(3000)]


@given(data=st.data(), pool=st.lists(rows, min_size=1, max_size=5), packing=packings)
def test_json_lines_read_back_as_written_with_the_lines_they_stand_on(folder, data, pool, packing):
    lines, places = b"", []
    path = folder / f"pool.jsonl{packing}"
    for row in pool:
        lines += data.draw(st.sampled_from([b"", b"\n", b" \t\r\n"]))
        places.append(lines.count(b"\n") + 1)
        text = json.dumps(row, ensure_ascii=data.draw(st.booleans()))
        lines += text.encode() + data.draw(st.sampled_from([b"\n", b"\r\n"]))
    mark = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    whole = mark + (lines if data.draw(st.booleans()) else lines.rstrip())
    cut = data.draw(st.integers(0, len(whole)))
    written(path, packed(whole, packing, cut))
    expected = [Row(f"{path}:{line}", row) for line, row in zip(places, pool, strict=True)]
    assert list(read_jsonl(path)) == expected


@given(pool=st.lists(rows, min_size=1, max_size=5), packing=packings, indent=st.sampled_from([None, 1]))
def test_a_list_of_objects_reads_back_as_written(folder, pool, packing, indent):
    path = written(folder / f"pool.json{packing}", packed(json.dumps(pool, indent=indent).encode(), packing))
    assert list(read_json(path)) == [Row(f"{path}[{i}]", row) for i, row in enumerate(pool)]


@given(pool=st.lists(rows, min_size=1, max_size=5), packing=packings)
def test_json_lines_called_json_are_read_as_json_lines(folder, pool, packing):
    data = packed(b"\n" + json_lines(pool), packing)
    lines = list(read_jsonl(written(folder / f"same.jsonl{packing}", data)))
    called_json = list(read_json(written(folder / f"same.json{packing}", data)))
    assert [row.values for row in called_json] == [row.values for row in lines] == pool
    assert called_json[0].place == f"{folder / 'same.json'}{packing}:2"


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@given(fraction=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_stream_cut_anywhere_yields_the_rows_before_and_then_names_the_file(folder, packing, fraction):
    whole = packed(json_lines(MANY), packing, cut=20_000)
    size = 1 + int(fraction * (len(whole) - 2))
    size -= size == len(frame(json_lines(MANY)[:20_000], packing))  # there it would be whole
    path = written(folder / f"cut.jsonl{packing}", whole[:size])
    seen, message = before_error(read_jsonl(path), InvalidInput)
    assert [row.values for row in seen] == MANY[: len(seen)]
    assert message.startswith(f"{path} cannot be read to its end: ")


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_rows_before_a_cut_are_not_lost(tmp_path, packing):
    whole = packed(json_lines(MANY), packing, cut=60_000)
    path = written(tmp_path / f"cut.jsonl{packing}", whole[:-10])
    seen, _ = before_error(read_jsonl(path), InvalidInput)
    assert len(seen) > 1000


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@given(bit=st.integers(0, 2**16), pool=st.lists(rows, min_size=1, max_size=3))
def test_a_flipped_bit_is_noticed_by_the_end_or_harmless(folder, packing, bit, pool):
    data = bytearray(packed(json_lines(pool), packing))
    bit %= len(data) * 8
    data[bit // 8] ^= 1 << bit % 8
    path = written(folder / f"flipped.jsonl{packing}", data)
    seen = None
    with suppress(InvalidInput):
        seen = list(read_jsonl(path))
    assert seen in (None, [Row(f"{path}:{i}", row) for i, row in enumerate(pool, 1)])


def test_skippable_zstd_frames_are_skipped(tmp_path):
    skip = struct.pack("<II", 0x184D2A50, 4) + b"pzst"
    frame = zstandard.ZstdCompressor().compress(b'{"text": "a"}\n')
    path = written(tmp_path / "pool.jsonl.zst", skip + frame + skip + frame)
    assert [row.values for row in read_jsonl(path)] == [{"text": "a"}] * 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": }', "not JSON: Expecting value at column 10"),
        (b'{"text": "a"', "not JSON: Expecting ',' delimiter at column 13"),
        (b'  {"text": }', "not JSON: Expecting value at column 12"),
        (b'{"text": "caf\xe9"}', "not UTF-8: byte 0xe9 at offset 13"),
        (b'["text"]', "a list, not an object"),
        (b'"text"', "a string, not an object"),
        (b"17", "a number (17), not an object"),
        (b"null", "null, not an object"),
        (b"true", "true, not an object"),
        (b'{"x": NaN}', "NaN or Infinity, which are not JSON"),
        (b'{"x": [-Infinity]}', "NaN or Infinity, which are not JSON"),
        (b'{"x": 1e999}', "NaN or Infinity, which are not JSON"),
        (b'{"x": "\\ud800"}', "half a surrogate pair ('\\ud800') in a string, which is no text"),
        (b'{"\\udc00": 1}', "half a surrogate pair ('\\udc00') in a string, which is no text"),
        (b'{"x": ' + b"[" * 100_000, "nested too deeply to be read"),
    ],
)
def test_a_bad_line_is_named_and_the_next_is_read(tmp_path, line, reason):
    path = written(tmp_path / "pool.jsonl", b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n')
    first, bad, last = read_jsonl(path)
    assert bad == BadRow(f"{path}:2", reason)
    assert (first.values, last) == ({"text": "a"}, Row(f"{path}:3", {"text": "b"}))


def test_a_number_of_too_many_digits_is_a_bad_row(tmp_path):
    path = written(tmp_path / "pool.jsonl", b'{"x": ' + b"9" * 5000 + b"}\n")
    (bad,) = read_jsonl(path)
    assert "digits" in bad.reason


def test_an_element_that_is_no_object_is_a_bad_row(tmp_path):
    path = written(tmp_path / "pool.json", b'[{"text": "a"}, 3, {"x": NaN}, {"text": "b"}]')
    read = list(read_json(path))
    assert read[1:3] == [
        BadRow(f"{path}[1]", "a number (3), not an object"),
        BadRow(f"{path}[2]", "NaN or Infinity, which are not JSON"),
    ]
    assert [row.values for row in (read[0], read[3])] == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{\n  "data": []\n}', " holds an object, not a list of objects nor one object a line"),
        (b"17", " holds a number (17), not a list of objects nor one object a line"),
        (b'\n[{"a": 1},\n {"b": }]', ": not JSON: Expecting value at line 3 column 8"),
        (b"[]", " holds no rows"),
        (b"\n\n", " holds no rows"),
        (b"", " holds no rows"),
    ],
)
def test_a_json_file_without_rows_is_refused(tmp_path, data, message):
    path = written(tmp_path / "pool.json", data)
    seen, raised = before_error(read_json(path), InvalidInput)
    assert (seen, raised) == ([], f"{path}{message}")


def test_a_file_without_rows_is_refused(tmp_path):
    path = written(tmp_path / "pool.jsonl", b"\n \n")
    assert before_error(read_jsonl(path), InvalidInput) == ([], f"{path} holds no rows")


@pytest.mark.parametrize("reader", [read_json, read_jsonl])
def test_a_missing_file_is_refused_before_the_first_row(tmp_path, reader):
    with pytest.raises(NotFound, match=r"pool.jsonl does not exist$"):
        reader(tmp_path / "pool.jsonl")
    with pytest.raises(InvalidInput, match=r"is a folder, not a file$"):
        reader(tmp_path)


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_a_file_that_is_not_compressed_is_named(tmp_path, packing):
    path = written(tmp_path / f"pool.jsonl{packing}", b'{"text": "a"}\n')
    seen, message = before_error(read_jsonl(path), InvalidInput)
    assert not seen
    assert message.startswith(f"{path} cannot be read to its end: ")


def test_a_path_is_named_as_it_was_given(tmp_path, monkeypatch):
    written(tmp_path / "pool.jsonl", b"{}\n")
    monkeypatch.chdir(tmp_path)
    assert [row.place for row in read_jsonl("pool.jsonl")] == ["pool.jsonl:1"]
    assert [row.place for row in read_jsonl("./pool.jsonl")] == ["./pool.jsonl:1"]


READ_STDIN = "from risedb.corpus import read_stdin; print(*read_stdin(), sep='\\n')"


def stdin(data, code=READ_STDIN):
    return subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False, timeout=60)


def test_stdin_is_read_as_json_lines():
    printed = stdin(b'\n{"text": "a"}\nx\n').stdout.decode().splitlines()
    assert printed[0] == repr(Row("<stdin>:2", {"text": "a"}))
    assert printed[1] == repr(BadRow("<stdin>:3", "not JSON: Expecting value at column 1"))


def test_stdin_that_is_empty_or_closed_is_refused():
    assert b"InvalidInput: <stdin> holds no rows" in stdin(b"").stderr
    closed = stdin(b"", f"import sys; sys.stdin = None; {READ_STDIN}")
    assert b"InvalidInput: <stdin> is closed" in closed.stderr
