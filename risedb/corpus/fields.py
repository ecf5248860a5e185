"""Which field of a row means what: its text or chat, where the loss starts, its id."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any, Literal, Self, get_args

from risedb.corpus.document import Document
from risedb.corpus.json_values import describe
from risedb.corpus.row import BadRow, Row
from risedb.corpus.template import Template
from risedb.errors import InvalidInput

LossOn = Literal["all", "completion"]
_Kind = Literal["text", "prompt", "messages"]
_Content = tuple[str | None, tuple[Mapping[str, Any], ...] | None, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    r"""The names by which a corpus calls its fields, and what its loss is on.

    A row is read as the first of these that it holds whole, null counting as absent: a text; prompt
    and completion; messages. What the settings speak of comes before what they leave at its
    default: names of one's own for prompt and completion, or a template, win over a field that
    happens to be called ``text``, and with ``loss_on="completion"`` both prompt and completion and
    messages do, since a plain text has no completion.

    Raises
    ------
    InvalidInput
        If a name is empty, the template cannot be used, or `loss_on` is unknown.

    Examples
    --------
    >>> fields = Fields(prompt="question", completion="answer", loss_on="completion")
    >>> document = fields.document(Row("row 1", {"id": 7, "question": "2+2?", "answer": "4"}))
    >>> document.id, document.text, document.loss_from
    ('7', '2+2?\n4', 5)
    """

    text: str = "text"
    """Field of a plain text."""
    id: str = "id"
    """Field of a document's name; a row without it is named by the hash of its content."""
    prompt: str = "prompt"
    """Field of what is asked; ``{prompt}`` in the template."""
    completion: str = "completion"
    """Field of what is answered; ``{completion}`` in the template."""
    messages: str = "messages"
    """Field of a chat: a list of objects with ``role`` and ``content``."""
    template: str = "{prompt}\n{completion}"
    """How they become one text; any other name in braces is the field of that name."""
    loss_on: LossOn = "all"
    """All of a document counts, or only from its completion on, or a chat's last message."""

    def __post_init__(self) -> None:
        """Check every name where it is made."""
        for name in ("text", "id", "prompt", "completion", "messages"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                msg = f"the {name} field is {value!r}; it must be the name of a field"
                raise InvalidInput(msg)
        if self.loss_on not in get_args(LossOn):
            msg = f"loss_on is {self.loss_on!r}; it must be 'all' or 'completion'"
            raise InvalidInput(msg)
        Template.parse(self.template)

    def as_dict(self) -> dict[str, str]:
        """Return the settings as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Read back what :meth:`as_dict` gave; what is missing has its default.

        Raises
        ------
        InvalidInput
            If a setting is unknown or cannot be used.
        """
        known = {field.name for field in dataclass_fields(cls)}
        for name in settings:
            if name not in known:
                msg = f"{name!r} is no setting of fields; there are {', '.join(sorted(known))}"
                raise InvalidInput(msg)
        return cls(**settings)

    def document(self, row: Row) -> Document | BadRow:
        """Give a row its meaning.

        Returns
        -------
        Document | BadRow
            The reason names the field, what was found in it, and where a setting may help, the
            setting.

        Examples
        --------
        >>> Fields().document(Row("pool.jsonl:17", {"text": 3})).reason
        "field 'text' is a number (3), not a string"
        """
        try:
            name = self._id(row.values)
            content = self._content(row.values)
            document = Document(name or "", *content, dict(row.values), row.place)
        except ValueError as error:  # InvalidInput, or a number of more digits than Python writes
            return BadRow(row.place, str(error))
        return replace(document, id=document.content_hash.hex()) if name is None else document

    def _id(self, values: Mapping[str, Any]) -> str | None:
        if self.id not in values:
            return None
        value = values[self.id]
        if isinstance(value, bool) or not isinstance(value, str | int):
            msg = f"field {self.id!r} is {describe(value)}, not a string or a whole number"
            raise InvalidInput(msg)
        if value == "":
            msg = f"field {self.id!r} is an empty string"
            raise InvalidInput(msg)
        return str(value)

    def _content(self, values: Mapping[str, Any]) -> _Content:
        """Return text, messages, loss_from and completion_only."""
        only_completion = self.loss_on == "completion"
        match self._kind(values):
            case "text" if only_completion:
                msg = (
                    f"field {self.text!r} is a whole text, and the loss is to be on a completion; "
                    f"that takes {self.prompt!r} and {self.completion!r}, or {self.messages!r}"
                )
                raise InvalidInput(msg)
            case "text":
                return _string(values, self.text), None, 0, False
            case "prompt":
                text, start = self._rendered(values)
                return text, None, start if only_completion else 0, False
            case "messages":
                return None, self._chat(values), 0, only_completion
            case None:
                msg = (
                    f"no field {self.text!r}, nor {self.prompt!r} and {self.completion!r}, nor "
                    f"{self.messages!r}; the row has {_names(values)}. Name yours with "
                    "--text-field, or --prompt-field and --completion-field"
                )
                raise InvalidInput(msg)

    def _kind(self, values: Mapping[str, Any]) -> _Kind | None:
        """Choose as the class says; a row that holds nothing whole, by what it has of it."""
        completion = self.loss_on == "completion"
        kinds: dict[_Kind, tuple[tuple[str, ...], bool]] = {
            "text": ((self.text,), not completion and self._differs("text")),
            "prompt": (
                (self.prompt, self.completion),
                completion or self._differs("prompt", "completion", "template"),
            ),
            "messages": ((self.messages,), completion or self._differs("messages")),
        }
        for explicit in (True, False):
            group = {kind: names for kind, (names, meant) in kinds.items() if meant is explicit}
            for kind, names in group.items():
                if all(values.get(name) is not None for name in names):
                    return kind
            for kind, names in group.items():
                if any(name in values for name in names):
                    return kind
        return None

    def _differs(self, *settings: str) -> bool:
        return any(getattr(self, setting) != getattr(_DEFAULT, setting) for setting in settings)

    def _rendered(self, values: Mapping[str, Any]) -> tuple[str, int]:
        template = Template.parse(self.template)
        meaning = {"prompt": self.prompt, "completion": self.completion}
        return template.render({n: _string(values, meaning.get(n, n)) for n in template.names})

    def _chat(self, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        messages = values[self.messages]
        if not isinstance(messages, list | tuple) or not messages:
            found = "an empty list" if isinstance(messages, list | tuple) else describe(messages)
            msg = f"field {self.messages!r} is {found}, not a list of messages"
            raise InvalidInput(msg)
        for number, message in enumerate(messages, 1):
            where = f"message {number} of {self.messages!r}"
            if not isinstance(message, dict):
                msg = f"{where} is {describe(message)}, not an object"
                raise InvalidInput(msg)
            for name in ("role", "content"):
                _string(message, name, f" of {where}")
        answered = len(messages) > 1 and messages[-1]["role"] == "assistant"
        if self.loss_on == "completion" and not answered:
            msg = f"{self.messages!r} does not end with an assistant's answer, to put the loss on"
            raise InvalidInput(msg)
        return tuple(messages)


def _string(values: Mapping[str, Any], name: str, where: str = "") -> str:
    if name not in values:
        msg = f"no field {name!r}{where}; there is {_names(values)}"
        raise InvalidInput(msg)
    value = values[name]
    if not isinstance(value, str):
        msg = f"field {name!r}{where} is {describe(value)}, not a string"
        raise InvalidInput(msg)
    return value


def _names(values: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, list(values)[:10])) or "nothing"


_DEFAULT = Fields()
