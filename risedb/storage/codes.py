"""The int8 companion of stored rows: what the scan reads first, and how far off it may be.

A document's two channels, each a unit row u with its norm n, make one vector of unit length,

    x = [n_rh u_rh ; n_gh u_gh] / sqrt(n_rh^2 + n_gh^2),

whose product with a query that carries the channel weights is its score but for one factor a row. So a single code
serves every lambda. x is stored as scale * codes with `error`, an upper bound of |x - scale * codes|_2: by
Cauchy-Schwarz no product with a query q is off by more than error * |q|, and a scan by codes can prove what it leaves
out.

One scale a row: on a million signatures with the statistics of text the error is 0.009 of the row in the mean, 0.028 at
most. One scale for a whole chunk was not measured here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risedb.signature import widened

_STEP_NUMBERS = 2**18  # numbers coded at once: their float64 copies fit a cache
_LARGEST = 127  # not -128: codes can be negated


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """The companion of n rows.

    Parameters
    ----------
    codes
        (n, Kr * Kh + Kg * Kh) int8, from -127 to 127; a zero signature has zeros.
    scale
        (n,) float32.
    error
        (n,) float32, rounded up.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    error: NDArray[np.float32]


def encode(rh: NDArray[np.generic], gh: NDArray[np.generic], norms: NDArray[np.float32]) -> Codes:
    """Code stored rows.

    Parameters
    ----------
    rh, gh
        (n, Kr * Kh) and (n, Kg * Kh) unit rows as they are stored: float32, float16, or bfloat16 in uint16.
    norms
        (n, 2) float32.
    """
    n, width = len(norms), rh.shape[1] + gh.shape[1]
    codes = np.empty((n, width), np.int8)
    scale, error = np.empty(n, np.float32), np.empty(n, np.float32)
    step = max(_STEP_NUMBERS // width, 1)
    for start in range(0, n, step):
        part = slice(start, start + step)
        codes[part], scale[part], error[part] = _encode(rh[part], gh[part], norms[part])
    return Codes(codes, scale, error)


def _encode(
    rh: NDArray[np.generic], gh: NDArray[np.generic], norms: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    lengths = norms.astype(np.float64)
    together = np.hypot(lengths[:, 0], lengths[:, 1])
    lengths /= np.where(together > 0, together, 1.0)[:, None]
    x = np.concatenate([widened(rh) * lengths[:, :1], widened(gh) * lengths[:, 1:]], axis=1)  # float64
    largest = np.abs(x).max(axis=1, initial=0.0)
    scale = (largest / _LARGEST).astype(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(1)).astype(np.float64)[:, None]
    codes = np.clip(np.rint(x / divisor), -_LARGEST, _LARGEST)
    x -= codes * scale[:, None].astype(np.float64)
    residual = np.sqrt(np.einsum("ij,ij->i", x, x))
    # 1e-6 and 1e-12 cover the float64 arithmetic above; nextafter the rounding to float32.
    error = np.nextafter((residual * (1 + 1e-6) + 1e-12).astype(np.float32), np.float32(np.inf))
    error[largest == 0] = 0
    return codes, scale, error
