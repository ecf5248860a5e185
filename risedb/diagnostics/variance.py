"""What sketching may cost: exact variances of sketched inner products, and the bounds of Appendix D.

For a CountSketch with independent buckets and signs, the kernel K_ab = s(a) s(b) [bucket(a) = bucket(b)] has
E[K_ab K_cd] = [a=b][c=d] + ([a=c][b=d] + [a=d][b=c] - 2 [a=b=c=d]) / width. Everything here is that, contracted.

arXiv:2604.16197v1's Lemma D.2 drops the cross terms: its bound |x|^2 |y|^2 / K is exceeded, by up to a factor 2, when x
and y are aligned, and Theorem D.1 (ii) to (iv) inherit that. Eq. 19's bound, (|x|^2 |y|^2 + (x.y)^2) / K, holds;
"corrected" below is Theorem D.1 with Eq. 19 in the place of Lemma D.2.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InnerProducts:
    """What the moments of n inner products <x, y> depend on, (n,) float64 each.

    Parameters
    ----------
    value
        x . y
    norms
        |x|^2 |y|^2
    overlap
        sum_i x_i^2 y_i^2
    """

    value: Tensor
    norms: Tensor
    overlap: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> "InnerProducts":
        """Take the rows of x and y, (n, D) each."""
        x, y = x.double(), y.double()
        return cls(
            value=(x * y).sum(dim=1),
            norms=x.square().sum(dim=1) * y.square().sum(dim=1),
            overlap=(x.square() * y.square()).sum(dim=1),
        )

    def exact(self, width: int) -> Tensor:
        """Variance of the sketched inner product: (|x|^2 |y|^2 + (x.y)^2 - 2 sum x_i^2 y_i^2) / K."""
        return (self.norms + self.value.square() - 2 * self.overlap) / width

    def printed(self, width: int) -> Tensor:
        """Lemma D.2's bound as it is printed, which is none: |x|^2 |y|^2 / K."""
        return self.norms / width

    def corrected(self, width: int) -> Tensor:
        """Eq. 19's bound: (|x|^2 |y|^2 + (x.y)^2) / K."""
        return (self.norms + self.value.square()) / width


def product_variance(a: Tensor, variance_a: Tensor, b: Tensor, variance_b: Tensor) -> Tensor:
    """Variance of A B for independent A and B with means a and b (arXiv:2604.16197v1, proof of Lemma D.3)."""
    return variance_a * variance_b + a.square() * variance_b + b.square() * variance_a


def projection_variance(value: Tensor, norms: Tensor, width: int) -> Tensor:
    """Variance of <R x, R y> for a Gaussian R with `width` rows (arXiv:2604.16197v1, Lemma D.1)."""
    return (norms + value.square()) / width


@dataclass(frozen=True, slots=True)
class ChannelMoments:
    """What the variance of <S_r^T X S_h, S_r^T Y S_h> depends on: one channel's score of two whole documents.

    With X = sum_t r_t h_t^T of one document and Y of another, <X, Y> is the channel's unsketched score before
    normalisation. The paper's Theorem D.1 is its case of one position each; beyond that the terms of a sum share their
    hashes, so their variances do not add up, and that expectation has to be contracted on both sides.

    Parameters
    ----------
    rows_collide, columns_collide, both_collide
        Sums of the terms in which the row sketch, the column sketch or both take coordinates together.
    """

    rows_collide: float
    columns_collide: float
    both_collide: float

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> "ChannelMoments":
        """Take X and Y, (a, b) float64 each; rows that are zero in both may be left out."""
        cross, x_columns, y_columns = x.T @ y, x.T @ x, y.T @ y  # (b, b)
        columns = float((x_columns * y_columns).sum())
        crossed, transposed = float(cross.square().sum()), float((cross * cross.T).sum())
        column_products = float(cross.diagonal().square().sum())
        row_products = float((x * y).sum(dim=1).square().sum())
        x_squares, y_squares = x.square(), y.square()
        both = (
            x_squares.sum() * y_squares.sum()
            + (x * y).sum().square()
            - 2 * (x_columns.diagonal() * y_columns.diagonal()).sum()
            - 2 * (x_squares.sum(dim=1) * y_squares.sum(dim=1)).sum()
            + 4 * (x_squares * y_squares).sum()
        )
        return cls(
            rows_collide=columns + transposed - 2 * row_products,
            columns_collide=crossed + transposed - 2 * column_products,
            both_collide=float(both) + columns + crossed - 2 * column_products - 2 * row_products,
        )

    def variance(self, width_rows: int, width_columns: int) -> float:
        """Variance for sketches of so many buckets: Kr or Kg, and Kh."""
        once = self.rows_collide / width_rows + self.columns_collide / width_columns
        return once + self.both_collide / (width_rows * width_columns)
