"""OPORP, the compression of RapidIn and ZO-Inf: one random permutation, one random sign each, sums of equal bins.

Sources: Li and Li, arXiv:2302.03505; Lin et al., arXiv:2405.11724, Section 3 (the permutation as repeated shuffles of
rows and columns); arXiv:2604.16197v1, Table 6 (K = 65,536, 20 shuffles).
"""

import math

import torch
from torch import Tensor


class Oporp:
    """A random linear map from D numbers to K bins whose inner products are unbiased.

    For one permutation drawn uniformly the variance of <C x, C y> is
    (|x|^2 |y|^2 + <x, y>^2 - 2 sum x_i^2 y_i^2) / K * (D' - K) / (D' - 1), D' being D padded to a multiple of K. The
    mean is <x, y> for any permutation.

    Parameters
    ----------
    dimension
        D.
    bins
        K.
    shuffles
        How many times the rows, and then the columns, of a matrix with the D numbers are shuffled.
    seed
        Of permutation and signs.

    Attributes
    ----------
    bin_of
        (D,) int64: where each number goes.
    signs
        (D,) float32 of +1 and -1.
    """

    def __init__(self, dimension: int, bins: int = 65_536, shuffles: int = 20, seed: int = 42) -> None:
        self.bins = bins
        generator = torch.Generator().manual_seed(seed)
        size = -(-dimension // bins) * bins
        order, shapes = torch.arange(size), _shapes(size)
        for _ in range(shuffles):
            order = _shuffled(order, shapes, generator)
        self.bin_of = torch.empty(size, dtype=torch.int64)
        self.bin_of[order] = torch.arange(size) // (size // bins)
        self.bin_of = self.bin_of[:dimension].clone()
        self.signs = torch.randint(0, 2, (dimension,), generator=generator).mul_(2).sub_(1).float()

    def __call__(self, vector: Tensor) -> Tensor:
        """Compress one vector, (D,) to (K,) in its dtype."""
        zeros = torch.zeros(self.bins, dtype=vector.dtype)
        return zeros.scatter_add_(0, self.bin_of, vector * self.signs)


def _shuffled(order: Tensor, shapes: list[int], generator: torch.Generator) -> Tensor:
    """Shuffle the rows of a matrix of the numbers, and then the columns of another."""
    for by_column in (False, True):
        rows = shapes[int(torch.randint(len(shapes), (1,), generator=generator))]
        matrix = order.view(rows, -1)
        if by_column:
            matrix = matrix[:, torch.randperm(matrix.shape[1], generator=generator)]
        else:
            matrix = matrix[torch.randperm(rows, generator=generator)]
        order = matrix.reshape(-1)
    return order


def _shapes(size: int) -> list[int]:
    """Return numbers of rows that divide a size and give matrices neither flat nor narrow."""
    root = math.isqrt(size)
    divisors = [rows for rows in range(1, size // max(math.isqrt(root), 1) + 1) if size % rows == 0]
    return [rows for rows in divisors if rows * rows >= root] or divisors[-1:]
