"""CountSketch hashes, version 1: a function of (seed, role, coordinate) alone, the same for ever on every machine.

Computed in NumPy with wrapping 64-bit arithmetic (SplitMix64's finisher). DESIGN section 1 writes them out; a change
here is a new hash version.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["r", "h", "g"]
_ROLE_NUMBERS: dict[Role, int] = {"r": 1, "h": 2, "g": 3}
_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def hash_tables(seed: int, role: Role, dimension: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the bucket and the sign of every coordinate (arXiv:2604.16197v1, Eq. 17).

    Parameters
    ----------
    seed
        0 to 2^64 - 1.
    role
        Which factor is sketched: residual, hidden state or projected error. Roles are independent families.
    dimension
        Coordinates D of the factor.
    width
        Buckets K.

    Returns
    -------
    buckets, signs
        (D,) int64 in [0, K) and (D,) int8 of +1 and -1.

    Examples
    --------
    >>> buckets, signs = hash_tables(42, "h", 3, 24)
    >>> (buckets * signs).tolist(), signs.tolist()
    ([0, -2, 8], [1, -1, 1])
    """
    key = _mix(_mix(seed) ^ _ROLE_NUMBERS[role])
    steps = np.arange(1, dimension + 1, dtype=np.uint64) * np.uint64(_GOLDEN_GAMMA)
    u = _finish(np.uint64(key) + steps)
    buckets = ((u >> np.uint64(32)) * np.uint64(width)) >> np.uint64(32)
    signs = 1 - 2 * (u & np.uint64(1)).astype(np.int8)
    return buckets.astype(np.int64), signs.astype(np.int8)


def _finish(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _mix(x: int) -> int:
    return int(_finish(np.array([(x + _GOLDEN_GAMMA) & _MASK], dtype=np.uint64))[0])
