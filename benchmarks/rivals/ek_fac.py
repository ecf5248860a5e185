"""Influence functions with EK-FAC curvature, by kronfluence: its own defaults, every linear layer but the LM head.

The head is left out, as is usual: the eigenvectors of its V x V gradient covariance cost V^3, which for a vocabulary of
8,192 did not end in two minutes.

Source: arXiv:2604.16197v1, Table 19; kronfluence 1.0.1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import Rival

QUERIES_TOGETHER = 50
"""Queries whose gradients are held while the pool's are taken again; kronfluence would take them for each query."""


class NextToken(Task):
    """The summed loss of one text, and of tokens drawn from the model where kronfluence wants the true Fisher."""

    def __init__(self, modules: list[str]) -> None:
        self.modules = modules

    def compute_train_loss(self, batch: dict[str, Tensor], model: nn.Module, sample: bool = False) -> Tensor:
        """Return the loss of a batch, ()."""
        logits = model(input_ids=batch["input_ids"], use_cache=False).logits[:, :-1].flatten(0, 1)
        targets = batch["input_ids"][:, 1:].flatten()
        if sample:
            with torch.no_grad():
                targets = torch.multinomial(torch.softmax(logits, dim=1), 1).flatten()
        return nn.functional.cross_entropy(logits, targets, reduction="sum")

    def compute_measurement(self, batch: dict[str, Tensor], model: nn.Module) -> Tensor:
        """Return what is attributed: the loss itself."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """Name the linear layers that count."""
        return self.modules

    def get_attention_mask(self, batch: dict[str, Tensor]) -> None:
        """Nothing is padded: texts go alone."""


class EkFac(Rival):
    """Pairwise influences; the pool's gradients are taken again for each set of queries.

    Parameters
    ----------
    causal
        The target model.
    scratch
        Folder in which kronfluence keeps factors and scores.
    """

    def __init__(self, causal: Causal, scratch: Path) -> None:
        self.causal, self.scratch = causal, scratch
        model = causal.copy()
        head = model.get_output_embeddings()
        linear = [name for name, one in model.named_modules() if isinstance(one, nn.Linear) and one is not head]
        task = NextToken(linear)
        self.analyzer = Analyzer(
            "ek-fac", prepare_model(model, task), task, cpu=True, disable_tqdm=True, output_dir=str(scratch)
        )

    def fit(self, pool: Sequence[str]) -> None:
        """Fit covariances, eigenvectors and corrected eigenvalues on the pool."""
        self.pool = self._dataset(pool)
        self.analyzer.fit_all_factors(
            factors_name="pool",
            dataset=self.pool,
            per_device_batch_size=1,
            factor_args=FactorArguments(strategy="ekfac"),
            overwrite_output_dir=True,
        )

    def score(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return influences, (m, n) float32."""
        self.analyzer.compute_pairwise_scores(
            scores_name="queries",
            factors_name="pool",
            query_dataset=self._dataset(queries),
            train_dataset=self.pool,
            per_device_query_batch_size=1,
            per_device_train_batch_size=1,
            score_args=ScoreArguments(query_gradient_accumulation_steps=min(len(queries), QUERIES_TOGETHER)),
            overwrite_output_dir=True,
        )
        return self.analyzer.load_pairwise_scores("queries")["all_modules"].float().numpy()

    def save(self, folder: Path) -> None:
        """Copy the factors."""
        for file in self.scratch.rglob("factors_pool/*.safetensors"):
            (folder / file.name).write_bytes(file.read_bytes())

    def _dataset(self, texts: Sequence[str]) -> Any:
        return [{"input_ids": ids} for ids in self.causal.ids(texts)]
