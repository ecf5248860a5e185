"""CountSketch of the three factors, in torch: residual (sparse), hidden state (dense), head (once for all tokens)."""

import torch
from torch import Tensor

from risedb.config import FactorNorm, SketchConfig
from risedb.featurize.hashes import Role, hash_tables
from risedb.featurize.support import Support


class CountSketch:
    """A fixed linear map from D coordinates to K buckets, one signed entry a coordinate.

    Source: arXiv:2604.16197v1, Eq. 17.

    Parameters
    ----------
    role, dimension, width, seed
        As in :func:`risedb.featurize.hashes.hash_tables`.
    device
        Where the tables live.

    Attributes
    ----------
    buckets, signs
        (D,) int64 in [0, K) and (D,) float32 of +1 and -1: the hash tables.
    """

    def __init__(self, role: Role, dimension: int, width: int, *, seed: int, device: torch.device) -> None:
        buckets, signs = hash_tables(seed, role, dimension, width)
        self.width = width
        self.buckets = torch.from_numpy(buckets).to(device)
        self.signs = torch.from_numpy(signs).to(device, torch.float32)

    def matrix(self) -> Tensor:
        """Return the map as a dense (D, K) float32 matrix."""
        matrix = torch.zeros(len(self.buckets), self.width, device=self.buckets.device)
        matrix.scatter_(1, self.buckets[:, None], self.signs[:, None])
        return matrix

    def sparse(self, support: Support) -> Tensor:
        """Sketch each position's residual on its support: (N, K) float32."""
        cells = support.positions * self.width + self.buckets[support.token_ids]
        signed = support.residuals * self.signs[support.token_ids]
        flat = torch.zeros(len(support) * self.width, device=signed.device)
        return flat.scatter_add_(0, cells, signed).view(-1, self.width)


class FactorSketches:
    """The three sketches of one model, with its head, or what stands for it in GH, sketched once.

    CountSketch is linear, so CS_g(g_t) = sum_v r_t(v) CS_g(W_v): a (V, Kg) table and a weighted gather replace the
    projected error in R^d.

    Parameters
    ----------
    head
        (V, d) LM head, any float dtype.
    config
        Widths and seed.
    factor_norm
        Lengths of the sketched factors: see :class:`risedb.config.ReadoutConfig`.
    embeddings
        (V, d') rows that the projected error adds up, if not those of the head.
    """

    def __init__(
        self,
        head: Tensor,
        config: SketchConfig,
        *,
        factor_norm: FactorNorm = "unit",
        embeddings: Tensor | None = None,
    ) -> None:
        vocabulary, hidden = head.shape
        seed, device = config.seed, head.device
        embeddings = head if embeddings is None else embeddings
        self.residual = CountSketch("r", vocabulary, config.kr, seed=seed, device=device)
        self.hidden = CountSketch("h", hidden, config.kh, seed=seed, device=device)
        self.projected_error = CountSketch("g", embeddings.shape[1], config.kg, seed=seed, device=device)
        self._factor_norm = factor_norm
        self._hidden_matrix = self.hidden.matrix()  # (d, Kh)
        error_matrix = self.projected_error.matrix()  # (d', Kg)
        self._error_table = torch.cat(  # (V, Kg)
            [rows.float() @ error_matrix for rows in embeddings.split(8192)]
        )

    def rhat(self, support: Support) -> Tensor:
        """Sketched residuals, (N, Kr) float32 (Algorithm 2, line 12)."""
        return self._scaled(self.residual.sparse(support), support)

    def ghat(self, support: Support) -> Tensor:
        """Sketched projected errors, (N, Kg) float32 (Algorithm 2, lines 11 and 14)."""
        bags = torch.nn.functional.embedding_bag(
            support.token_ids,
            self._error_table,
            support.offsets,
            mode="sum",
            per_sample_weights=support.residuals,
        )
        return self._scaled(bags, support)

    def hhat(self, hidden: Tensor) -> Tensor:
        """Sketched hidden states, (N, d) to (N, Kh) float32 (Algorithm 2, line 13)."""
        sketched = hidden.float() @ self._hidden_matrix
        return sketched if self._factor_norm == "none" else _unit(sketched)

    def _scaled(self, sketched: Tensor, support: Support) -> Tensor:
        if self._factor_norm == "none":
            return sketched
        unit = _unit(sketched)
        return unit if self._factor_norm == "unit" else unit * support.residual_norms()[:, None]


def _unit(rows: Tensor) -> Tensor:
    norms = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(norms > 0, norms, 1.0)
