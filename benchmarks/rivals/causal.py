"""A causal language model as the rivals read it: token ids, final hidden states, losses and their gradients."""

from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from risedb.config import LoadConfig
from risedb.featurize import LanguageModel, load_model
from risedb.featurize.batches import plan_batches

BATCH_TOKENS = 2048


class Causal:
    """One model, and the length at which texts are cut.

    Parameters
    ----------
    language
        The loaded model.
    seq_len
        Most tokens of a text that are read.
    """

    def __init__(self, language: LanguageModel, seq_len: int = 256) -> None:
        self.language, self.seq_len = language, seq_len

    @classmethod
    def load(cls, name: str, seq_len: int = 256) -> "Causal":
        """Load a model in float32 by the names that risedb takes."""
        return cls(load_model(name, LoadConfig(dtype="float32")), seq_len)

    @property
    def model(self) -> PreTrainedModel:
        """The model of transformers, whose parameters can be differentiated and changed."""
        return self.language._model

    def copy(self, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """Return the model anew, for packages that put hooks and wrappers into theirs; buffers keep their dtype."""
        model = deepcopy(self.model).eval()
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
        return model

    @property
    def head(self) -> Tensor:
        """(V, d) the LM head."""
        return self.language.head

    def ids(self, texts: Sequence[str]) -> list[Tensor]:
        """Return each text's token ids, (T,) int64."""
        encoded = self.language.tokenizer.encode(texts, [0] * len(texts))
        return [torch.from_numpy(np.asarray(one.ids[: self.seq_len])) for one in encoded]

    def hidden(self, texts: Sequence[str]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the number of a text, its final hidden states (T, d) and its ids (T,); texts of one length together."""
        rows = self.ids(texts)
        for batch in plan_batches([len(row) for row in rows], BATCH_TOKENS):
            ids, mask = padded([rows[i] for i in batch])
            hidden = self.language.hidden(ids, mask)  # (B, T, d)
            for i, states in zip(batch, hidden, strict=True):
                yield i, states[: len(rows[i])], rows[i]

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the model's logits of some positions, (N, d) to (N, V)."""
        return self.language.logits(hidden)

    @torch.no_grad()
    def losses(self, texts: Sequence[str]) -> Tensor:
        """Return the mean negative log-likelihood of each text's tokens, (n,) float64; 0 where none is predicted."""
        rows, losses = self.ids(texts), torch.zeros(len(texts), dtype=torch.float64)
        for batch in plan_batches([len(row) for row in rows], BATCH_TOKENS):
            ids, mask = padded([rows[i] for i in batch])
            targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            each = nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=-100)
            losses[batch] = each.double().sum(dim=1) / mask[:, 1:].sum(dim=1).clamp_min(1)
        return losses

    def loss(self, ids: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of one text's tokens, differentiable; () in the model's dtype."""
        logits = self.model(input_ids=ids[None], use_cache=False).logits[0, :-1]
        return nn.functional.cross_entropy(logits, ids[1:])

    def gradients(self, ids: Tensor) -> list[Tensor]:
        """Return the gradient of one text's mean loss, one tensor for each of the model's parameters."""
        parameters = list(self.model.parameters())
        if len(ids) < 2:
            return [torch.zeros_like(parameter) for parameter in parameters]
        with torch.enable_grad():
            return list(torch.autograd.grad(self.loss(ids), parameters))


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return rows of ids as one (B, T) batch, padded on the right, with its attention mask."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()
