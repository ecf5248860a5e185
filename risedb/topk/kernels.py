"""Approximate inner products, as fast as the device gives them, with a bound on their error.

They propose; :mod:`risedb.topk.scan` lets only exact scores decide. torch widens float16 ten times faster than NumPy
does, but takes a second or two to import: a query that needs no model is better off with NumPy until the pool is large.
"""

import numpy as np
from numpy.typing import NDArray

from risedb.signature import widened

_UNIT = 1.01  # no stored row is longer: a unit row rounded to float16 is within 2^-10 of 1


def approximate_dots(rows: NDArray[np.generic], queries: NDArray[np.float32], device: str) -> NDArray[np.float32]:
    """Return (n, m) products of (n, D) stored unit rows with (m, D) queries, in float32 arithmetic.

    `device` is ``numpy`` or a device of torch.
    """
    if device == "numpy":
        return widened(rows) @ queries.T
    return _torch_dots(rows, queries, device)


def error_bound(dimension: int) -> float:
    """Bound the error of :func:`approximate_dots` for queries of unit length, whatever the order of summation.

    A float32 inner product of D terms errs by at most D u |x| |q| / (1 - D u), with u = 2^-24; rounding the query to
    float32 adds u more.
    """
    u = 2.0**-24
    return _UNIT * (dimension + 8) * u / (1 - (dimension + 8) * u)


def _torch_dots(rows: NDArray[np.generic], queries: NDArray[np.float32], device: str) -> NDArray[np.float32]:
    import torch

    # tf32 keeps ten bits, fewer than the bound allows: then the doubles do it.
    exact_float32 = torch.get_float32_matmul_precision() == "highest"
    dtype = torch.float32 if exact_float32 else torch.float64
    copied = torch.from_numpy(
        np.array(widened(rows) if rows.dtype == np.uint16 else rows)
    )  # a mapped file is read-only, which torch does not know
    dots = copied.to(device).to(dtype) @ torch.from_numpy(queries).to(device, dtype).T
    result: NDArray[np.float32] = dots.float().cpu().numpy()
    return result
