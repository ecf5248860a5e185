"""How a prompt and its completion become one text, and at which character the completion starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Self

from risedb.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Template:
    """A text with places for strings, such as ``Q: {prompt} A: {completion}``.

    Unlike :meth:`str.format` it fills in names only: no attributes, items, conversions or format
    specifications, so that nothing in a row or a template reaches further than the row.

    Parameters
    ----------
    parts
        Pieces of literal text, each with the name whose string follows it, or None at the end.
    """

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, template: str) -> Self:
        """Read a template; ``{completion}`` must be in it, once, since the loss may start there.

        Raises
        ------
        InvalidInput
            If it is no such template, quoting it.

        Examples
        --------
        >>> Template.parse("Q: {prompt} A: {completion}").names
        ('prompt', 'completion')
        >>> Template.parse("{prompt.secret}")
        Traceback (most recent call last):
        ...
        risedb.errors.InvalidInput: template '{prompt.secret}': write {name}, not {prompt.secret}
        """
        try:
            pieces = list(Formatter().parse(template))
        except (TypeError, ValueError) as error:
            msg = f"template {template!r}: {error}"
            raise InvalidInput(msg) from None
        for _, name, spec, conversion in pieces:
            if name is not None and (spec or conversion or not name or name.isdigit() or set(".[]").intersection(name)):
                written = f"{name}{'!' * bool(conversion)}{conversion or ''}{':' * bool(spec)}{spec}"
                msg = f"template {template!r}: write {{name}}, not {{{written}}}"
                raise InvalidInput(msg)
        parsed = cls(tuple((literal, name) for literal, name, _, _ in pieces))
        if parsed.names.count("completion") != 1:
            msg = f"template {template!r} must hold {{completion}} once"
            raise InvalidInput(msg)
        return parsed

    @property
    def names(self) -> tuple[str, ...]:
        """The names it holds, in their order."""
        return tuple(name for _, name in self.parts if name is not None)

    def render(self, strings: Mapping[str, str]) -> tuple[str, int]:
        r"""Fill in a string for each name.

        Returns
        -------
        text, completion_start
            The text, and the index of the character at which its completion starts.

        Examples
        --------
        >>> Template.parse("{prompt}\n{completion}").render({"prompt": "2+2?", "completion": "4"})
        ('2+2?\n4', 5)
        """
        text, completion_start = "", 0
        for literal, name in self.parts:
            text += literal
            if name == "completion":
                completion_start = len(text)
            if name is not None:
                text += strings[name]
        return text, completion_start
