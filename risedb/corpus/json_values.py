"""Strict JSON: what a record may hold, since an index keeps records as JSON in UTF-8.

Python's ``json`` also takes NaN, Infinity and halves of surrogate pairs, which other readers of an
index could not. Which field of a record means what is not known here.
"""

import json
import math
from datetime import date, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

from risedb.errors import InvalidInput


def parse_json(data: bytes) -> Any:
    """Read one JSON value.

    Raises
    ------
    InvalidInput
        If it is not UTF-8 or not JSON; the message is a reason without a place.

    Examples
    --------
    >>> parse_json(b'{"text": }')
    Traceback (most recent call last):
    ...
    risedb.errors.InvalidInput: not JSON: Expecting value at column 10
    """
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        msg = f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        msg = f"not JSON: {error.msg} at {line}column {error.colno}"
    except RecursionError:
        msg = "nested too deeply to be read"
    except ValueError as error:  # a number of more digits than Python converts
        msg = f"not JSON that can be read: {error}"
    raise InvalidInput(msg)


def canonical_json(value: object) -> bytes:
    """Return the one spelling of a value: sorted keys, no spaces, UTF-8.

    Raises
    ------
    InvalidInput
        If strict JSON cannot hold it; the message is a reason without a place.

    Examples
    --------
    >>> canonical_json({"b": [1.5, None], "a": "é"}).decode()
    '{"a":"é","b":[1.5,null]}'
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        msg = f"half a surrogate pair ({error.object[error.start]!r}) in a string, which is no text"
    except RecursionError:
        msg = "nested too deeply to be kept"
    except (TypeError, ValueError) as error:
        found = str(error)
        msg = f"it cannot be kept as JSON: {found}"
        if found.startswith("Out of range float"):
            msg = "NaN or Infinity, which are not JSON"
    raise InvalidInput(msg)


def plain(value: Any) -> Any:  # noqa: PLR0911  one for each kind
    """Turn what a table may hold into what JSON can: dates, decimals and bytes become strings.

    NaN, by which tables say that a number is missing, becomes null.

    Raises
    ------
    InvalidInput
        If bytes are not UTF-8; the message is a reason without a place.

    Examples
    --------
    >>> plain({"day": date(2026, 4, 16), "loss": float("nan"), "raw": b"cat"})
    {'day': '2026-04-16', 'loss': None, 'raw': 'cat'}
    """
    match value:
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case date() | time():
            return value.isoformat()
        case Decimal() | timedelta() | UUID():
            return str(value)
        case float() if math.isnan(value):
            return None
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError as error:
                msg = f"not UTF-8: byte 0x{value[error.start]:02x} at offset {error.start}"
                raise InvalidInput(msg) from None
        case _:
            return value


def describe(value: object) -> str:
    """Name a value's kind as JSON knows it, for messages.

    Examples
    --------
    >>> describe(3), describe([]), describe(None)
    ('a number (3)', 'a list', 'null')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"a number ({value})"
    return _KINDS.get(type(value), f"a {type(value).__name__}")


_KINDS = {NoneType: "null", str: "a string", list: "a list", tuple: "a list", dict: "an object"}
