"""Records by column: what lets a filter look at a million rows without reading a record.

A segment's ``columns.arrow`` is an Arrow IPC file, uncompressed so that it is used as it is mapped. Each top-level
field of the records is a column: its distinct texts (a dictionary), and for each row the number of its text. A
condition is decided once for each distinct text and then looked up for each row.

A field has no column where one of its texts is longer than 256 bytes or one of its values is a list or an object, and
when 256 others have one. The file says which fields those are, and a condition on one of them is decided record by
record, with :meth:`Condition.matches`, to the same result.
"""

import json
import operator as operators
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from risedb.errors import Corrupt, InvalidInput

if TYPE_CHECKING:  # 0.2 s that a query without a condition need not wait
    import pyarrow as pa

_TEXT_BYTES = 256  # of a value, and of a field's name
_FIELDS = 256  # that have a column; also how many others are named
_SCALARS = (str, int, float, type(None))
_ABSENT = -1
_TYPE = "dictionary<values=string, indices=int32, ordered=0>"

_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\z"  # as JSON writes one; RE2's spelling
_is_number: Final = re.compile(_NUMBER.replace(r"\z", r"\Z")).match

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
OPERATORS: Final = ("=", "!=", *_COMPARISONS, "in")


def text_form(value: object) -> str:
    """Return a JSON value as conditions see it: a string as it is, anything else as JSON writes it.

    Examples
    --------
    >>> [text_form(value) for value in ("a b", "1", 1, 1.0, True, None)]
    ['a b', '1', '1', '1.0', 'true', 'null']
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """What one field of a record must be.

    ``=``, ``!=`` and ``in`` compare texts (see :func:`text_form`): 1 and ``"1"`` are the same, 1 and 1.0 are not.
    ``<``, ``<=``, ``>`` and ``>=`` compare numbers, as float64; a value whose text is no JSON number meets none of
    them. A record that lacks the field meets no condition, ``!=`` neither.

    Parameters
    ----------
    field
        Name of a top-level field.
    operator
        One of ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``.
    values
        The texts it is compared with: any number of them for ``in``, one for the others.

    Raises
    ------
    InvalidInput
        If the operator is unknown, the number of values does not suit it, it compares numbers and the value is none, or
        a name or value is no valid Unicode.

    Examples
    --------
    >>> Condition("score", ">=", ("0.5",)).matches({"score": 1})
    True
    """

    field: str
    operator: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the parts suit each other."""
        if self.operator not in OPERATORS:
            msg = f"{self.operator!r} compares nothing; use one of {' '.join(OPERATORS)}"
            raise InvalidInput(msg)
        if self.operator != "in" and len(self.values) != 1:
            msg = f"{self.field} {self.operator} takes one value, not {len(self.values)}"
            raise InvalidInput(msg)
        if self.operator in _COMPARISONS and not _is_number(self.values[0]):
            msg = f"{self.operator} compares numbers, and {self.values[0]!r} is none"
            raise InvalidInput(msg)
        for text in (self.field, *self.values):
            if not _is_unicode(text):
                msg = f"{text!r} is no valid Unicode text"
                raise InvalidInput(msg)

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record meets it, from the record itself."""
        if self.field not in record:
            return False
        text = text_form(record[self.field])
        if compare := _COMPARISONS.get(self.operator):
            return bool(_is_number(text)) and compare(float(text), float(self.values[0]))
        return (text in self.values) != (self.operator == "!=")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def columns_bytes(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the columns of records as the bytes of an Arrow IPC file.

    Parameters
    ----------
    records
        n JSON objects in the order of their rows; read one at a time.

    Examples
    --------
    >>> columns = Columns(columns_bytes([{"source": "c4", "tags": ["a"]}, {"source": "web"}]))
    >>> columns.mask(Condition("source", "=", ("c4",))).tolist()
    [True, False]
    >>> columns.mask(Condition("tags", "=", ("a",))) is None
    True
    """
    import pyarrow as pa

    rows = 0
    growing = _Growing()
    for record in records:
        growing.add(rows, record)
        rows += 1
    names, arrays = [], []
    for name, (texts, codes) in growing.columns.items():
        numbers = np.full(rows, _ABSENT, dtype=np.int32)
        numbers[: len(codes)] = codes
        indices: Any = pa.array(numbers, mask=numbers == _ABSENT)
        names.append(name)
        arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.utf8())))
    about = {"rows": rows, "unindexed": None if growing.unnamed else list(growing.unindexed)}
    schema = pa.schema(
        [pa.field(name, column.type) for name, column in zip(names, arrays, strict=True)],
        metadata={"risedb": json.dumps(about, ensure_ascii=False)},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        if arrays:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return bytes(sink.getvalue().to_pybytes())


class _Growing:
    """Columns while records are read: each field's texts, numbered as they come, and the number of each row's."""

    def __init__(self) -> None:
        self.columns: dict[str, tuple[dict[str, int], array[int]]] = {}
        self.unindexed: dict[str, None] = {}
        self.unnamed = False

    def add(self, row: int, record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            column = self.columns.get(name) or self._new(name)
            if column is None:
                continue
            texts, codes = column
            text = text_form(value) if isinstance(value, _SCALARS) else None
            code = None if text is None else texts.get(text)
            if code is None:
                if text is None or _is_long(text):
                    del self.columns[name]
                    self._leave_out(name)
                    continue
                code = texts[text] = len(texts)
            if len(codes) < row:
                codes.extend([_ABSENT] * (row - len(codes)))
            codes.append(code)

    def _new(self, name: str) -> tuple[dict[str, int], "array[int]"] | None:
        """Begin a field's column at its first appearance, unless it is to have none."""
        if name in self.unindexed or self.unnamed:
            return None
        if len(self.columns) == _FIELDS or _is_long(name):
            self._leave_out(name)
            return None
        return self.columns.setdefault(name, ({}, array("i")))

    def _leave_out(self, name: str) -> None:
        if len(self.unindexed) == _FIELDS or _is_long(name):
            self.unnamed = True  # from here on no field is new
        else:
            self.unindexed[name] = None


def _is_long(text: str) -> bool:
    return len(text) > _TEXT_BYTES or (not text.isascii() and len(text.encode()) > _TEXT_BYTES)


class Columns:
    """The columns of a segment's records, over the bytes as they are mapped.

    Parameters
    ----------
    buffer
        What :func:`columns_bytes` returned. It must stay as it is; nothing is copied before it is asked for.
    what
        Names the buffer in an error.

    Raises
    ------
    Corrupt
        If it is no such file.
    """

    def __init__(self, buffer: bytes | memoryview | NDArray[np.uint8], what: str = "a segment's columns") -> None:
        import pyarrow as pa

        self._what = what
        mapped: Any = buffer
        try:
            table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()
            about = json.loads((table.schema.metadata or {})[b"risedb"])
            self.rows: int = about["rows"]
            self._unindexed = None if about["unindexed"] is None else frozenset(about["unindexed"])
            self._columns = {
                name: _Column(column, self.rows) for name, column in zip(table.column_names, table.columns, strict=True)
            }
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def mask(self, condition: Condition) -> NDArray[np.bool_] | None:
        """Tell which rows meet a condition.

        Returns
        -------
        (n,) bool, or None
            None if the field has no column here, so that the records must be read.

        Raises
        ------
        Corrupt
            If the column is not one that was written.
        """
        column = self._columns.get(condition.field)
        if column is None:
            known = self._unindexed is not None and condition.field not in self._unindexed
            return np.zeros(self.rows, dtype=np.bool_) if known else None
        try:
            return column.mask(condition)
        except (ValueError, IndexError) as error:  # pyarrow's errors of damaged data are ValueErrors
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> Corrupt:
        return Corrupt(f"{self._what} cannot be read: {error}. Run risedb verify")


class _Column:
    """One field: its distinct texts and each row's number among them, unpacked when first asked for."""

    def __init__(self, column: "pa.ChunkedArray[Any]", rows: int) -> None:
        if str(column.type) != _TYPE or len(column) != rows or column.num_chunks != 1:
            msg = f"a column is {len(column)} rows of {column.type} in {column.num_chunks} parts, not {rows} in one"
            raise ValueError(msg)
        self._array: Any = column.chunk(0)
        self._codes: NDArray[np.int32] | None = None
        self._numbers: NDArray[np.float64] | None = None

    def mask(self, condition: Condition) -> NDArray[np.bool_]:
        if self._codes is None:
            self._array.validate(full=True)
            self._codes = self._array.indices.fill_null(_ABSENT).to_numpy()
        chosen = np.zeros(len(self._array.dictionary) + 1, dtype=np.bool_)  # the last is for rows that lack the field
        chosen[:-1] = self._chosen(condition)
        met: NDArray[np.bool_] = chosen[self._codes]
        return met

    def _chosen(self, condition: Condition) -> NDArray[np.bool_]:
        """Decide for each distinct text."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if compare := _COMPARISONS.get(condition.operator):
            if self._numbers is None:
                self._numbers = _numbers(self._array.dictionary)
            chosen: NDArray[np.bool_] = compare(self._numbers, float(condition.values[0]))
            return chosen
        equal = pc.is_in(self._array.dictionary, value_set=pa.array(condition.values, pa.utf8()))
        chosen = equal.to_numpy(zero_copy_only=False)
        return ~chosen if condition.operator == "!=" else chosen


def _numbers(texts: "pa.StringArray") -> NDArray[np.float64]:
    """Read each text as a number; NaN, which compares with nothing, where it is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numeric = pc.if_else(pc.match_substring_regex(texts, _NUMBER), texts, pa.scalar(None, pa.utf8()))
    try:
        numbers = numeric.cast(pa.float64())
    except pa.ArrowInvalid:  # a number beyond float64
        numbers = pa.array([None if text is None else float(text) for text in numeric.to_pylist()], pa.float64())
    read: NDArray[np.float64] = numbers.fill_null(np.nan).to_numpy()
    return read
