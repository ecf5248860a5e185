"""What a proposal may be off by: the certificate, in one formula for every kernel.

A kernel computes products p(i, j) of row i with query j in fast arithmetic. With unit = the query's length,

    | score(i, j) - (gain_i step_j p(i, j) unit_j + offset_j shift_i) |  <=  slack_i unit_j

so a row whose upper bound does not reach the k-th best score cannot be among the k best. For codes the slack is the
row's own residual (Cauchy-Schwarz) and that of the rounded query; for stored rows it is float32 arithmetic's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.signature import Block
from risedb.topk.scores import QueryVectors, channel_weights

UNIT = 1.01  # no stored row is longer: a unit row rounded to bfloat16 is within 2^-8 of 1
ROUNDING = 1e-9  # of float64 arithmetic, here and in exact scores
SMALLEST = 1e-200  # nothing beside a weighted norm or its square, and stands for one that is 0: no factor is infinite
_CODES_PRODUCT = 2**31 - 1  # what an int32 holds


def float32_error(dimension: int) -> float:
    """Bound the error of a float32 inner product of unit rows with a query of unit length, in any order of summation.

    A product of D terms errs by at most D u |x| |q| / (1 - D u), with u = 2^-24; rounding the query to float32 adds u
    more.
    """
    u = 2.0**-24
    return (dimension + 8) * u / (1 - (dimension + 8) * u)


def code_factor(n_rh: Any, n_gh: Any, lambda_rh_squared: float, lambda_gh_squared: float, normalize: float) -> Any:
    """Return what stands before x = [n_rh u_rh ; n_gh u_gh] / sqrt(n_rh^2 + n_gh^2) in a score; arrays or numbers.

    The score is x's product with [lambda_rh q_rh ; lambda_gh q_gh], times this. `normalize` is 1.0 or 0.0.
    """
    rh_squared = n_rh * n_rh
    gh_squared = n_gh * n_gh
    weighted = lambda_rh_squared * rh_squared + lambda_gh_squared * gh_squared
    return np.sqrt((rh_squared + gh_squared) / (normalize * weighted + (1.0 - normalize) + SMALLEST))


def code_slack(code_error: Any, query_error: float, length: float) -> Any:
    """Bound the error of x's product by its codes: within code_error of it, and no longer than both."""
    return code_error + (length + code_error) * query_error


def code_constants(
    block: Block, config: ScoreConfig, query_error: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the last arguments of :func:`code_factor` and of :func:`code_slack`.

    Where codes are all that is stored, they are the row, and rounding at most doubled its length.
    """
    length = 2 * UNIT if block.rh.dtype == np.int8 else UNIT
    return (config.lambda_rh**2, config.lambda_gh**2, float(config.normalize)), (query_error + ROUNDING, length)


def stored_slack(query_error: float) -> float:
    """Bound the error of float32 products of a stored unit row, for a channel weight of one."""
    return UNIT * query_error + ROUNDING


def row_bounds(
    block: Block, config: ScoreConfig, query_error: float, shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gain and slack of a block's rows, (n,) each: of its codes if it has them, else of its stored rows."""
    if block.codes is None or block.code_scale is None or block.code_error is None:
        weights = channel_weights(block.norms, config)
        return shift, stored_slack(query_error) * weights.sum(axis=1) * shift
    of_factor, of_slack = code_constants(block, config, query_error)
    factor = code_factor(*block.norms.T.astype(np.float64), *of_factor) * shift
    return factor * block.code_scale, factor * code_slack(block.code_error.astype(np.float64), *of_slack)


@dataclass(frozen=True, slots=True, eq=False)
class ProposingQueries:
    """m queries as a kernel takes them.

    Parameters
    ----------
    vectors
        (m, D) in the kernel's arithmetic, both channels; of :func:`digit_queries` (2, m, D).
    step, unit, offset
        (m,) float64: vectors * step are of unit length; see the module. `offset` is rounded up.
    error
        Most that one of them is off, in units of its length.
    """

    vectors: NDArray[Any]
    step: NDArray[np.float64]
    unit: NDArray[np.float64]
    offset: NDArray[np.float64]
    error: float

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.step)


def float_queries(queries: QueryVectors, config: ScoreConfig, *, coded: bool) -> ProposingQueries:
    """Return queries in float32: for codes they carry the channel weights, for stored rows the rows do."""
    fused = _fused(queries, config) if coded else np.concatenate([queries.rh, queries.gh], axis=1)
    unit = np.sqrt(np.einsum("md,md->m", fused, fused))
    vectors = (fused / np.where(unit > 0, unit, 1.0)[:, None]).astype(np.float32)
    error = float32_error(fused.shape[1])
    return ProposingQueries(vectors, np.ones(len(unit)), unit, _rounded_up(queries.offset), error)


def integer_queries(queries: QueryVectors, config: ScoreConfig) -> ProposingQueries:
    """Return queries rounded to int16, for codes; no product with a row overflows an int32."""
    fused = _fused(queries, config)
    width = fused.shape[1]
    largest, total = np.abs(fused).max(axis=1), np.abs(fused).sum(axis=1)
    flat = np.where(largest > 0, total / np.where(largest > 0, largest, 1.0), 1.0)  # the sum, largest being 1
    most = np.minimum(np.iinfo(np.int16).max, (_CODES_PRODUCT / 127 - width) / flat)
    step = np.where(largest > 0, largest / most, 1.0)
    vectors = np.rint(fused / step[:, None])
    residual = fused - vectors * step[:, None]
    unit = np.sqrt(np.einsum("md,md->m", fused, fused))
    divisor = np.where(unit > 0, unit, 1.0)
    error = float((np.sqrt(np.einsum("md,md->m", residual, residual)) / divisor).max(initial=0.0))
    return ProposingQueries(vectors.astype(np.int16), step / divisor, unit, _rounded_up(queries.offset), error)


def digit_queries(queries: QueryVectors, config: ScoreConfig) -> ProposingQueries:
    """Return queries of 15 bits for codes, as two int8 digits (2, m, D): step * (254 first + second) is a query."""
    fused = _fused(queries, config)
    largest = np.abs(fused).max(axis=1)
    step = np.where(largest > 0, largest / 127, 1.0)
    scaled = fused / step[:, None]
    high = np.rint(scaled)
    low = np.rint(254 * (scaled - high))
    residual = fused - (254 * high + low) * (step / 254)[:, None]
    unit = np.sqrt(np.einsum("md,md->m", fused, fused))
    divisor = np.where(unit > 0, unit, 1.0)
    error = float((np.sqrt(np.einsum("md,md->m", residual, residual)) / divisor).max(initial=0.0))
    vectors = np.stack([high, low]).astype(np.int8)
    return ProposingQueries(vectors, step / 254 / divisor, unit, _rounded_up(queries.offset), error)


def _fused(queries: QueryVectors, config: ScoreConfig) -> NDArray[np.float64]:
    return np.concatenate([config.lambda_rh * queries.rh, config.lambda_gh * queries.gh], axis=1)


def _rounded_up(offset: NDArray[np.float64]) -> NDArray[np.float64]:
    return offset + ROUNDING * np.abs(offset)
