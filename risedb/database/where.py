"""Conditions on records: which documents a query may return, and how they are written."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from risedb.errors import InvalidInput
from risedb.storage import Condition, text_form

Wanted = str | Mapping[str, Any] | Sequence[str] | None

_BARE_FIELD = re.compile(r"""[^\s"(),=!<>]+""")
_BARE_VALUE = re.compile(r"""[^\s"(),=!<>][^\s"(),]*""")
_OPERATOR = re.compile(r"[=!<>]+|in(?=[\s(]|$)", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_AND = re.compile(r"and(?!\S)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that a record must meet, all of them.

    A condition is a field, one of ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` and a value, or a field, ``in`` and
    values in parentheses; ``and`` joins several. What they mean is in :class:`risedb.storage.Condition`. A field or
    value in double quotes is a JSON string. It must be one if it is empty, has a space, comma, parenthesis or quote in
    it, or begins with an operator's sign; likewise the value ``and``, and a field with an operator's sign anywhere.

    Parameters
    ----------
    conditions
        One for each field that matters.

    Examples
    --------
    >>> where = Where.parse('source in (c4, "the pile") and score >= 0.5 and lang != de')
    >>> where.matches({"source": "the pile", "score": 0.75, "lang": "en"})
    True
    >>> where.matches({"source": "the pile", "score": 0.75})  # a field that is not there meets no condition
    False
    >>> str(where)
    'source in (c4, "the pile") and score >= 0.5 and lang != de'
    >>> Where.parse({"source": ["c4", "the pile"], "label": 1}) == Where.parse('source in (c4,"the pile") and label=1')
    True
    >>> Where.parse("title=The cat")
    Traceback (most recent call last):
    ...
    risedb.errors.InvalidInput: the condition 'title=The cat' is not field=value: 'and' is missing before 'cat' \
(character 11); a value with spaces goes in double quotes
    """

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, where: Wanted) -> Self:
        """Read conditions.

        Parameters
        ----------
        where
            A text, a list of texts that must all hold, a mapping of fields to values (a list of values means any of
            them), or None for no condition.

        Raises
        ------
        InvalidInput
            Naming the text, the place in it and what is wrong there.
        """
        if where is None:
            return cls()
        if isinstance(where, str):
            return cls(tuple(_Reader(where).conditions()))
        if isinstance(where, Mapping):
            return cls(tuple(_condition(field, value) for field, value in where.items()))
        if isinstance(where, list | tuple) and all(isinstance(text, str) for text in where):
            return cls(tuple(condition for text in where for condition in _Reader(text).conditions()))
        msg = f"the condition {where!r} is no text, list of texts or mapping of fields to values"
        raise InvalidInput(msg)

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record meets all conditions, from the record itself."""
        return all(condition.matches(record) for condition in self.conditions)

    def __str__(self) -> str:
        """Write the conditions so that :meth:`parse` reads them back."""
        return " and ".join(
            f"{_written(one.field, _BARE_FIELD)} {one.operator} "
            + (f"({', '.join(values)})" if one.operator == "in" else values[0])
            for one in self.conditions
            for values in [[_written(value, _BARE_VALUE) for value in one.values]]
        )


def _condition(field: object, value: object) -> Condition:
    if not isinstance(field, str):
        msg = f"the condition {{{field!r}: {value!r}}} is not field=value: the name of a field is text"
        raise InvalidInput(msg)
    try:
        if isinstance(value, list | tuple | set | frozenset):
            return Condition(field, "in", tuple(text_form(one) for one in value))
        return Condition(field, "=", (text_form(value),))
    except TypeError as error:
        msg = f"the condition on {field!r} is not field=value: {error}; values are text, numbers, true, false and null"
        raise InvalidInput(msg) from error


def _written(text: str, bare: re.Pattern[str]) -> str:
    return text if bare.fullmatch(text) and not _AND.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def conditions(self) -> list[Condition]:
        read = [self._condition()]
        while self._at < len(self._text):
            if not self._take(_AND):
                rest = re.split(r"\s", self._text[self._at :], maxsplit=1)[0]
                self._fail(f"'and' is missing before {rest!r}", "; a value with spaces goes in double quotes")
            read.append(self._condition())
        return read

    def _condition(self) -> Condition:
        field = self._word(_BARE_FIELD, "the name of a field")
        start = self._at
        operator = self._take(_OPERATOR).lower()
        if not operator:
            self._fail(f"an operator (= != < <= > >= in) is missing after {field!r}")
        values = self._list() if operator == "in" else [self._word(_BARE_VALUE, f"a value after {operator!r}")]
        try:
            return Condition(field, operator, tuple(values))
        except InvalidInput as error:
            self._at = start
            self._fail(str(error))

    def _list(self) -> list[str]:
        self._expect("(", "'(' is missing after 'in'")
        if self._mark(")"):
            return []
        values = [self._word(_BARE_VALUE, "a value")]
        while not self._mark(")"):
            self._expect(",", "',' or ')' is missing")
            values.append(self._word(_BARE_VALUE, "a value"))
        return values

    def _word(self, bare: re.Pattern[str], what: str) -> str:
        self._skip()
        if self._text.startswith('"', self._at):
            try:
                word, self._at = json.JSONDecoder().raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                self._fail(f"a JSON string begins here that has no end or an unknown escape ({error.msg})")
            self._skip()
            return str(word)
        word = "" if _AND.match(self._text, self._at) and bare is _BARE_VALUE else self._take(bare)
        if not word:
            self._fail(f"{what} is missing", "; write it in double quotes if it is empty or has signs in it")
        return word

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Step over what matches here and the space around it; empty if nothing does."""
        self._skip()
        found = pattern.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        self._skip()
        return found[0]

    def _mark(self, mark: str) -> bool:
        return bool(self._take(re.compile(re.escape(mark))))

    def _expect(self, mark: str, problem: str) -> None:
        if not self._mark(mark):
            self._fail(problem)

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at

    def _fail(self, problem: str, advice: str = "") -> NoReturn:
        msg = f"the condition {self._text!r} is not field=value: {problem} (character {self._at + 1}){advice}"
        raise InvalidInput(msg)
