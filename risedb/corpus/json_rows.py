"""Rows of JSON: one object a line, from a file or stdin, or a list of objects."""

import codecs
import itertools
import os
import sys
from collections.abc import Iterable, Iterator

from risedb.corpus.file_bytes import existing_file, open_bytes
from risedb.corpus.json_values import describe, parse_json
from risedb.corpus.row import BadRow, Row, at_least_one, checked_row
from risedb.errors import InvalidInput


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[Row | BadRow]:
    """Read JSON lines, ``.gz`` and ``.zst`` too, one line in memory at a time.

    Returns
    -------
    Iterator[Row | BadRow]
        One for each line that is not blank, in the file's order; their places read
        ``pool.jsonl:17``.

    Raises
    ------
    NotFound
        At once, if the file does not exist.
    InvalidInput
        While reading, if the file holds no rows, or breaks off in a compressed stream after those
        that were yielded.
    """
    name = existing_file(path)
    return at_least_one(_file_rows(name), f"{name} holds no rows")


def read_json(path: str | os.PathLike[str]) -> Iterator[Row | BadRow]:
    """Read a list of objects, ``.gz`` and ``.zst`` too, or JSON lines that are called ``.json``.

    Returns
    -------
    Iterator[Row | BadRow]
        In the file's order, with places from 0: ``pool.json[3]``. The list is held in memory whole.

    Raises
    ------
    NotFound
        At once, if the file does not exist.
    InvalidInput
        While reading, if the file is neither, or holds no rows.
    """
    name = existing_file(path)
    return at_least_one(_list_rows(name), f"{name} holds no rows")


def read_stdin() -> Iterator[Row | BadRow]:
    """Read JSON lines from stdin; their places read ``<stdin>:3``.

    Raises
    ------
    InvalidInput
        At once, if stdin is closed; while reading, if nothing comes.
    """
    if sys.stdin is None:
        msg = "<stdin> is closed"
        raise InvalidInput(msg)
    # Not sys.stdin.buffer: a thread that waits for it keeps the process from ending.
    stream = open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115  the process's own
    return at_least_one(_line_rows(enumerate(stream, 1), "<stdin>"), "<stdin> holds no rows")


def _file_rows(name: str) -> Iterator[Row | BadRow]:
    with open_bytes(name) as stream:
        yield from _line_rows(enumerate(stream, 1), name)


def _line_rows(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[Row | BadRow]:
    for number, line in lines:
        text = _text(line)
        if not text:
            continue
        place = f"{name}:{number}"
        try:
            yield checked_row(place, parse_json(text))
        except InvalidInput as error:
            yield BadRow(place, str(error))


def _list_rows(name: str) -> Iterator[Row | BadRow]:
    with open_bytes(name) as stream:
        lines = enumerate(stream, 1)
        number, line = next(((number, line) for number, line in lines if _text(line)), (0, b""))
        if not line:
            return
        if _is_object(line):
            yield from _line_rows(itertools.chain([(number, line)], lines), name)
            return
        blank = b"\n" * (number - 1)  # so that a message counts lines from the file's first
        data = blank + line.removeprefix(codecs.BOM_UTF8) + stream.read()
    try:
        values = parse_json(data)
    except InvalidInput as error:
        msg = f"{name}: {error}"
        raise InvalidInput(msg) from None
    if not isinstance(values, list):
        msg = f"{name} holds {describe(values)}, not a list of objects nor one object a line"
        raise InvalidInput(msg)
    for index, value in enumerate(values):
        yield checked_row(f"{name}[{index}]", value)


def _text(line: bytes) -> bytes:
    """Strip a line's end, and the mark that starts a file, or each of several joined ones."""
    return line.removeprefix(codecs.BOM_UTF8).rstrip()


def _is_object(line: bytes) -> bool:
    text = _text(line)
    try:
        return text.lstrip().startswith(b"{") and isinstance(parse_json(text), dict)
    except InvalidInput:
        return False
