"""Rows of tables: CSV, TSV and Parquet, each with the names of its columns."""

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from risedb.corpus.file_bytes import existing_file, open_bytes
from risedb.corpus.json_values import plain
from risedb.corpus.row import BadRow, Row, at_least_one, checked_row
from risedb.errors import InvalidInput

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_BATCH_ROWS = 256  # documents may be long


def read_csv(path: str | os.PathLike[str], *, delimiter: str | None = None) -> Iterator[Row | BadRow]:
    """Read a table with a header, ``.gz`` and ``.zst`` too; every value is a string.

    Parameters
    ----------
    path
        The file, in UTF-8, quoted as RFC 4180 has it.
    delimiter
        What stands between two columns; if not given, a tab where the name says ``.tsv``, or else a
        comma.

    Returns
    -------
    Iterator[Row | BadRow]
        In the file's order; the place ``pool.csv:17`` is the line on which the row starts.

    Raises
    ------
    NotFound
        At once, if the file does not exist.
    InvalidInput
        While reading, if the header lacks a name or has one twice, the file holds no rows, or
        breaks off.
    """
    name = existing_file(path)
    if delimiter is None:
        delimiter = "\t" if ".tsv" in os.path.basename(name).lower() else ","
    return at_least_one(_csv_rows(name, delimiter), f"{name} holds no rows")


def read_parquet(path: str | os.PathLike[str]) -> Iterator[Row | BadRow]:
    """Read a Parquet file, a few hundred rows at a time.

    Returns
    -------
    Iterator[Row | BadRow]
        In the file's order, with places from 1: ``pool.parquet:row 17``. Dates, decimals and bytes
        are strings, NaN is null.

    Raises
    ------
    NotFound
        At once, if the file does not exist.
    InvalidInput
        While reading, if it is not Parquet, is damaged, has a column's name twice, or holds no
        rows.
    """
    name = existing_file(path)
    return at_least_one(_parquet_rows(name), f"{name} holds no rows")


def count_parquet(name: str) -> int:
    """Return the number of rows that the file's footer gives."""
    with _open_parquet(name) as file:
        return int(file.metadata.num_rows)


def plain_row(place: str, values: dict[str, Any]) -> Row | BadRow:
    """Make a row of a table's, each value made :func:`~risedb.corpus.json_values.plain`."""
    try:
        return checked_row(place, {column: plain(value) for column, value in values.items()})
    except InvalidInput as error:
        return BadRow(place, str(error))


def _csv_rows(name: str, delimiter: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(sys.maxsize)  # a document is one field; the default, 128 KiB, refuses it
    with open_bytes(name) as stream:
        # A byte that is not UTF-8 becomes half a surrogate pair, by which its row is known.
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        columns: list[str] = []
        while True:
            place = f"{name}:{reader.line_num + 1}"
            try:
                values = next(reader, None)
            except csv.Error as error:
                yield BadRow(place, f"not CSV: {error}")
                continue
            if values is None:
                return
            if not columns:
                columns = values
                _check_columns(columns, name)
            elif values:
                yield _csv_row(place, columns, values)


def _csv_row(place: str, columns: list[str], values: list[str]) -> Row | BadRow:
    if len(values) != len(columns):
        return BadRow(place, f"{len(values)} columns, where the header has {len(columns)}")
    for column, value in zip(columns, values, strict=True):
        if not _is_utf8(value):
            return BadRow(place, f"column {column!r} is not UTF-8")
    return Row(place, dict(zip(columns, values, strict=True)))


def _check_columns(columns: Sequence[str], name: str) -> None:
    for number, column in enumerate(columns, 1):
        if not column:
            msg = f"{name}: column {number} has no name in the header"
            raise InvalidInput(msg)
        if not _is_utf8(column):
            msg = f"{name}: the name of column {number} is not UTF-8"
            raise InvalidInput(msg)
        if column in columns[: number - 1]:
            msg = f"{name}: two columns are named {column!r}"
            raise InvalidInput(msg)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet_rows(name: str) -> Iterator[Row | BadRow]:
    with _open_parquet(name) as file:
        _check_columns(file.schema_arrow.names, name)
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for values in batch.to_pylist():
                number += 1
                yield plain_row(f"{name}:row {number}", values)


@contextmanager
def _open_parquet(name: str) -> Iterator["ParquetFile"]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(name) as file:
            yield file
    except InvalidInput:
        raise
    except (ArrowException, OSError, ValueError) as error:
        msg = f"{name} cannot be read: {error}"
        raise InvalidInput(msg) from error
