"""Conditions on records: which documents a query may return."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from risedb.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Where:
    """Fields that must have certain values, all of them.

    Parameters
    ----------
    conditions
        Field and value, both as text; a number is written as JSON writes it.

    Examples
    --------
    >>> Where.parse("label=1").matches({"label": 1}), Where.parse({"a": "x"}).matches({})
    (True, False)
    """

    conditions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, where: str | Mapping[str, Any] | None) -> Self:
        """Read ``"field=value"``, a mapping of fields to values, or None for no condition.

        Raises
        ------
        InvalidInput
            If a text has no ``=``.
        """
        if where is None:
            return cls()
        if isinstance(where, Mapping):
            return cls(tuple((field, _text(value)) for field, value in where.items()))
        field, equals, value = where.partition("=")
        if not equals or not field.strip():
            msg = f"the condition {where!r} is not field=value"
            raise InvalidInput(msg)
        return cls(((field.strip(), value.strip()),))

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record meets all conditions; a field it lacks meets none."""
        return all(field in record and _text(record[field]) == value for field, value in self.conditions)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
