"""Where documents of a corpus become tokens of a model: the seam between ``corpus`` and ``featurize``."""

from collections.abc import Sequence

from risedb.corpus import Document
from risedb.errors import InvalidInput
from risedb.featurize import Tokenizer, Tokens


def encode_documents(documents: Sequence[Document], tokenizer: Tokenizer) -> list[Tokens | InvalidInput]:
    """Tokenize documents, chats through the tokenizer's own template; an error in the place of what it cannot."""
    encoded: list[Tokens | InvalidInput | None] = [None] * len(documents)
    plain = [i for i, document in enumerate(documents) if document.text is not None]
    texts = [documents[i].text or "" for i in plain]
    tokens = tokenizer.encode(texts, [documents[i].loss_from for i in plain]) if plain else []
    for i, one in zip(plain, tokens, strict=True):
        encoded[i] = one
    return [
        _encode_chat(document, tokenizer) if one is None else one
        for document, one in zip(documents, encoded, strict=True)
    ]


def _encode_chat(document: Document, tokenizer: Tokenizer) -> Tokens | InvalidInput:
    try:
        text, loss_from = tokenizer.render_chat(document.messages or (), completion_only=document.completion_only)
        return tokenizer.encode([text], [loss_from], special_tokens=False)[0]
    except InvalidInput as error:
        return error
