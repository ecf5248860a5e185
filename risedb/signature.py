"""The value that crosses packages: signatures of documents, in NumPy, two channels apart.

The featurizer makes them, the store keeps them, the scan compares them. Each channel is a unit vector with its norm, so
that channel weights and normalisation stay choices of the query.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from risedb.errors import InvalidInput


@dataclass(frozen=True, slots=True, eq=False)
class Signatures:
    """Signatures of n documents (arXiv:2604.16197v1, Eq. 2).

    Parameters
    ----------
    ids
        The n documents' ids.
    rh
        (n, Kr * Kh) float: unit rows of phi_RH, row-major in (Kr, Kh). A zero signature stays zero.
    gh
        (n, Kg * Kh) float: unit rows of phi_GH.
    norms
        (n, 2) float32: the lengths that phi_RH and phi_GH had.

    Raises
    ------
    InvalidInput
        If the shapes do not belong together, or a value is not finite.
    """

    ids: tuple[str, ...]
    rh: NDArray[np.floating]
    gh: NDArray[np.floating]
    norms: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the arrays belong together."""
        n = len(self.ids)
        shapes_agree = (
            self.rh.ndim == self.gh.ndim == 2 and len(self.rh) == len(self.gh) == n and self.norms.shape == (n, 2)
        )
        if not shapes_agree:
            msg = (
                f"{n} ids with rh {self.rh.shape}, gh {self.gh.shape} and norms {self.norms.shape}; "
                "signatures need (n, Kr*Kh), (n, Kg*Kh) and (n, 2)"
            )
            raise InvalidInput(msg)
        for name in ("rh", "gh", "norms"):
            sound = np.isfinite(getattr(self, name)).all(axis=1)
            if not sound.all():
                msg = f"the signature of {self.ids[int(np.argmin(sound))]!r} has a non-finite number in {name}"
                raise InvalidInput(msg)

    @classmethod
    def from_phi(cls, ids: Sequence[str], phi_rh: NDArray[np.floating], phi_gh: NDArray[np.floating]) -> Self:
        """Split signatures before normalisation, (n, Kr*Kh) and (n, Kg*Kh), into unit rows and norms.

        Examples
        --------
        >>> s = Signatures.from_phi(["a"], np.array([[3.0, 4.0]]), np.array([[0.0]]))
        >>> s.rh.tolist(), s.norms.tolist()
        ([[0.6000000238418579, 0.800000011920929]], [[5.0, 0.0]])
        """
        units, norms = zip(*map(_unit_rows, (phi_rh, phi_gh)), strict=True)
        return cls(tuple(ids), units[0], units[1], np.stack(norms, axis=1).astype(np.float32))

    @property
    def phi_rh(self) -> NDArray[np.float32]:
        """phi_RH before normalisation, (n, Kr * Kh) float32."""
        return self.rh.astype(np.float32) * self.norms[:, :1]

    @property
    def phi_gh(self) -> NDArray[np.float32]:
        """phi_GH before normalisation, (n, Kg * Kh) float32."""
        return self.gh.astype(np.float32) * self.norms[:, 1:]

    def __len__(self) -> int:
        """Count the documents."""
        return len(self.ids)

    @classmethod
    def concatenate(cls, parts: Sequence["Signatures"]) -> "Signatures":
        """Put the rows of several values one after the other."""
        return cls(
            tuple(name for part in parts for name in part.ids),
            np.concatenate([part.rh for part in parts]),
            np.concatenate([part.gh for part in parts]),
            np.concatenate([part.norms for part in parts]),
        )


def _unit_rows(phi: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    norms = np.linalg.norm(phi.astype(np.float64), axis=1)
    divisor = np.where(norms > 0, norms, 1.0)
    return (phi / divisor[:, None]).astype(np.float32), norms


RowCheck = Callable[[NDArray[np.intp] | None], None]


def _already_checked(_: NDArray[np.intp] | None) -> None:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some stored rows as the scan reads them: views of mapped files, in the order of their sequence numbers.

    Parameters
    ----------
    sequence
        (n,) uint64: when each row was inserted; ties in a ranking are broken by it.
    rh, gh, norms
        As in :class:`Signatures`, rh and gh in the stored dtype; see :func:`widened`.
    live
        (n,) bool: False for rows that were deleted or replaced.
    codes
        (n, Kr * Kh + Kg * Kh) int8: the rows' companion for the scan, [n_rh u_rh ; n_gh u_gh] scaled to unit length,
        divided by `code_scale` and rounded. Where rh and gh are int8 they are views of it, and it is what is stored.
    code_scale, code_error
        (n,) float32: a row is code_scale * codes, to within code_error in Euclidean length.
    check
        Called before rh and gh are read, with the indices of the rows or None for all: verifies their checksums, once.
    key
        Names rows that never change, in this process: what was kept of them elsewhere can be used again. `live` may
        differ. None for rows that have no such name.

    Raises
    ------
    Corrupt
        By `check`, if the rows are not what was written.
    """

    sequence: NDArray[np.uint64]
    rh: NDArray[np.generic]
    gh: NDArray[np.generic]
    norms: NDArray[np.float32]
    live: NDArray[np.bool_]
    codes: NDArray[np.int8] | None = None
    code_scale: NDArray[np.float32] | None = None
    code_error: NDArray[np.float32] | None = None
    check: RowCheck = _already_checked
    key: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Count the rows, live or not."""
        return len(self.sequence)

    def part(self, rows: slice) -> "Block":
        """Return some of the rows, as views."""
        arrays: dict[str, Any] = {
            field.name: array[rows]
            for field in fields(self)
            if isinstance(array := getattr(self, field.name), np.ndarray)
        }
        start, stop, _ = rows.indices(len(self))

        def check(some: NDArray[np.intp] | None) -> None:
            self.check(np.arange(start, stop) if some is None else some + start)

        return replace(self, **arrays, check=check, key=self.key and (*self.key, start, stop))


def widened(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return stored numbers as float32, exactly: float16, int8, or bfloat16, which NumPy lacks, in uint16.

    Examples
    --------
    >>> widened(np.array([0x3F80, 0xC000], np.uint16)).tolist()
    [1.0, -2.0]
    """
    if rows.dtype == np.uint16:
        return (rows.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return rows.astype(np.float32, copy=False)


def narrowed(rows: NDArray[np.float32], dtype: str) -> NDArray[np.generic]:
    """Round float32 to a stored dtype: ``float32``, ``float16`` or ``bfloat16`` (as uint16), to nearest, ties to even.

    Examples
    --------
    >>> widened(narrowed(np.array([1.0, 1 / 3], np.float32), "bfloat16")).tolist()
    [1.0, 0.333984375]
    """
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
        bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return (bits >> np.uint32(16)).astype(np.uint16)
    return rows.astype(dtype)
