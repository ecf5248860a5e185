"""Text to token ids, with the first token that counts towards the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from risedb.config import ReadoutConfig
from risedb.errors import InvalidInput

_PROBE = "The quick brown fox's 12,345 jumps\n\tdef f(x): return x**2  # naïve — 東京 🙂 </s> <|im_start|>"


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One document as the model reads it.

    Parameters
    ----------
    ids
        (T,) int64 token ids, special tokens included.
    first_target
        Index of the first token whose prediction counts; the rest of the document follows it. At least 1, since
        nothing predicts the first token.
    """

    ids: NDArray[np.int64]
    first_target: int = 1

    def windows(self, config: ReadoutConfig) -> list["Tokens"]:
        """Cut to what forward passes read; each counted target is predicted in exactly one window.

        Windows of ``long="sum"`` overlap by one token, so that the first target of one is predicted from the last
        token of the one before. Windows in which nothing counts are left out.
        """
        step = config.seq_len - 1
        starts = range(0, max(len(self.ids) - 1, 1), step) if config.long == "sum" else [0]
        windows = [
            Tokens(self.ids[start : start + config.seq_len], max(self.first_target - start, 1)) for start in starts
        ]
        return [window for window in windows if window.first_target < len(window.ids)]

    def tokens_read(self, config: ReadoutConfig) -> int:
        """Count the tokens that go through the model: those of all windows."""
        return sum(len(window.ids) for window in self.windows(config))


class Tokenizer:
    """A Hugging Face tokenizer as RISE uses it: its own special tokens, no truncation, character offsets.

    Parameters
    ----------
    tokenizer
        Any tokenizer of transformers; one in Rust where the loss is on completions.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str], loss_from: Sequence[int], *, special_tokens: bool = True) -> list[Tokens]:
        """Tokenize texts; what counts starts with the first token that reaches beyond character ``loss_from``.

        Raises
        ------
        InvalidInput
            If the loss starts inside a text and the tokenizer knows no character offsets.
        """
        offsets_needed = any(loss_from)
        if offsets_needed and not self._tokenizer.is_fast:
            msg = f"--loss-on completion needs character offsets, which {type(self._tokenizer).__name__} has not"
            raise InvalidInput(msg)
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=special_tokens,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_offsets_mapping=offsets_needed,
            verbose=False,
        )
        offsets = encoded["offset_mapping"] if offsets_needed else [()] * len(texts)
        return [
            Tokens(np.asarray(ids, dtype=np.int64), _first_target(spans, start, len(ids)))
            for ids, spans, start in zip(encoded["input_ids"], offsets, loss_from, strict=True)
        ]

    def render_chat(self, messages: Sequence[Mapping[str, Any]], *, completion_only: bool) -> tuple[str, int]:
        """Render a chat with the tokenizer's own template.

        Returns
        -------
        text, loss_from
            The whole chat, and the character at which the last message's answer starts (0 without
            `completion_only`). The template writes the special tokens: encode without adding any.

        Raises
        ------
        InvalidInput
            If the tokenizer has no chat template, or its template renders the chat's beginning in another way when the
            last message is left out.
        """
        if self._tokenizer.chat_template is None:
            msg = "the row holds a chat, and this model's tokenizer has no chat template"
            raise InvalidInput(msg)
        text = self._render(messages)
        if not completion_only:
            return text, 0
        prompt = self._render(messages[:-1], add_generation_prompt=True)
        if not text.startswith(prompt):
            msg = "the tokenizer's chat template does not put the last message after the ones before it"
            raise InvalidInput(msg)
        return text, len(prompt)

    def _render(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = False) -> str:
        rendered = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return str(rendered)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        return str(self._tokenizer.decode(list(ids)))

    def fingerprint(self) -> str:
        """Hash what decides the token ids: the vocabulary, and how a probe text is cut."""
        digest = xxhash.xxh3_128()
        for token, number in sorted(self._tokenizer.get_vocab().items()):
            digest.update(f"{token}\0{number}\0".encode("utf-8", "surrogatepass"))
        digest.update(repr(self._tokenizer(_PROBE)["input_ids"]).encode())
        return digest.hexdigest()


def _first_target(spans: Sequence[tuple[int, int]], loss_from: int, length: int) -> int:
    if loss_from == 0:
        return 1
    reaching = (index for index, (_, end) in enumerate(spans) if end > loss_from)
    return max(next(reaching, length), 1)
