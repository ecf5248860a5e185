"""A row given meaning: the text to sign, where its loss starts, the id and the record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xxhash

from risedb.corpus.json_values import canonical_json
from risedb.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a pool or a query: a text or a chat.

    Parameters
    ----------
    id
        Its name in an index.
    text
        What the model reads, or None for a chat.
    messages
        A chat, each message with ``role`` and ``content``, or None for a text. It becomes text by
        the tokenizer's own template, which no corpus knows.
    loss_from
        Index of the character of `text` from which the loss counts; 0 counts all, and stands with
        every chat.
    completion_only
        Of a chat, only the last message counts. False for a text, of which `loss_from` says what
        counts.
    record
        The whole row.
    place
        Where it stands: ``pool.jsonl:17``.

    Raises
    ------
    InvalidInput
        If it is not either a text or a chat, or JSON cannot hold it.

    Examples
    --------
    >>> document = Document("a", "Cats sleep.", None, 0, False, {"text": "Cats sleep."}, "row 1")
    >>> document.content_hash.hex()
    '19a5d58dc533dc0634581f3b40d1b000'
    """

    id: str
    text: str | None
    messages: tuple[Mapping[str, Any], ...] | None
    loss_from: int
    completion_only: bool
    record: Mapping[str, Any]
    place: str
    content_hash: bytes = field(init=False, repr=False, compare=False)
    """16 bytes (xxh3-128) of text, messages, loss and record; id and place do not enter."""

    def __post_init__(self) -> None:
        """Check that there is one content, and hash it."""
        if (self.text is None) == (self.messages is None):
            msg = f"document {self.id!r} must have either a text or messages"
            raise InvalidInput(msg)
        if not 0 <= self.loss_from <= len(self.text or ""):
            msg = f"document {self.id!r}: loss_from is {self.loss_from}, outside its text"
            raise InvalidInput(msg)
        content = [self.text, self.messages, self.loss_from, self.completion_only, self.record]
        digest = xxhash.xxh3_128_digest(canonical_json(content))
        object.__setattr__(self, "content_hash", digest)
