"""Devices of torch as the scan uses them: what is copied to them, in which order, and what stays there.

Rows come through two pinned buffers, each with a twin on the device, on a stream of their own: while one piece is
computed with, the next is copied. Whoever brings a third waits for the first. On a CPU the same code runs without
streams, and tensors are views of the mapped files.
"""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from risedb.config import ScoreConfig
from risedb.errors import InvalidInput
from risedb.signature import Block

PAD = 32  # rows and numbers of a staged matrix are multiples of it, of which cuBLAS's integer products are sure
_ALIGNED = 256
_DERIVED_BYTES = 33  # of a row, for the last weights it was scored with
_SHARE = 0.5  # of a device's free memory, for what stays there


class Streams:
    """Orders copying and computing on one device; on a CPU each is done when it is called for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None

    def copying(self) -> AbstractContextManager[Any]:
        """Do what follows on the stream that copies."""
        return nullcontext() if self._copying is None else torch.cuda.stream(self._copying)

    def mark(self, *, copying: bool = False) -> Any:
        """Return an event that comes when all work of a stream up to here is done."""
        stream = self._stream(copying=copying)
        return None if stream is None else stream.record_event()

    def wait(self, event: Any, *, copying: bool = False) -> None:
        """Let a stream's further work wait for an event."""
        if event is not None:
            self._stream(copying=copying).wait_event(event)

    def _stream(self, *, copying: bool) -> Any:
        if self._copying is None:
            return None
        return self._copying if copying else torch.cuda.current_stream(self._device)


class _Slot:
    """A pinned buffer, its twin on the device, and the events after which each may be written again."""

    def __init__(self) -> None:
        self.pinned = self.there = torch.empty(0, dtype=torch.uint8)
        self.copied: Any = None
        self.used: Any = None


@dataclass(slots=True, eq=False)
class Piece:
    """Some rows on a device.

    Parameters
    ----------
    matrices
        (n, D) int8 codes, or rh and gh as stored; n and D may be padded with zeros.
    norms, scale, error
        (n, 2) and (n,) float32; no scale and error without codes.
    whole
        Whether the codes are all that is stored.
    live, shift
        (n,) bool and float64 or None: what differs from one scan to the next.
    asked
        The same two where they came from.
    terms
        What the bounds are made of, and the weights it was made for.
    """

    matrices: tuple[Any, ...]
    norms: Any
    scale: Any
    error: Any
    whole: bool
    live: Any
    shift: Any
    asked: tuple[NDArray[np.bool_], NDArray[np.float64] | None]
    terms: tuple[ScoreConfig, Any] | None = None

    def __len__(self) -> int:
        """Count the rows, padding too."""
        return len(self.norms)

    @property
    def coded(self) -> bool:
        """Whether they are codes."""
        return self.scale is not None

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        fixed = (*self.matrices, self.norms, *([self.scale, self.error] if self.coded else []))
        return sum(int(array.nbytes) for array in fixed) + _DERIVED_BYTES * len(self)

    def kept(self) -> "Piece":
        """Return a copy that outlives what it was brought in."""
        scale, error = (self.scale.clone(), self.error.clone()) if self.coded else (None, None)
        shift = None if self.shift is None else self.shift.clone()
        matrices = tuple(matrix.clone() for matrix in self.matrices)
        return Piece(matrices, self.norms.clone(), scale, error, self.whole, self.live.clone(), shift, self.asked)


class Lane:
    """One device: brings rows there, and keeps them while they fit.

    What is kept stays until its rows leave the index; rows beyond the bound are brought anew each time. (Least recently
    used would keep nothing of a pool that is read from end to end and does not fit.)

    Parameters
    ----------
    device
        As torch names it.
    cache_bytes
        Bound on what stays; ``auto``: half of the memory that is free now, on a CPU nothing.
    staged
        Whether rows go through buffers, as they do to any device but a CPU.

    Attributes
    ----------
    brought_bytes
        Copied to the device so far.
    """

    def __init__(self, device: str, cache_bytes: int | Literal["auto"] = 0, *, staged: bool | None = None) -> None:
        self.device = torch.device(device)
        self.streams = Streams(self.device)
        self.brought_bytes = self.kept_bytes = 0
        if cache_bytes == "auto":
            free = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 0
            cache_bytes = int(_SHARE * free)
        self._cache_bytes = cache_bytes
        self._kept: dict[tuple[int, ...], Piece] = {}
        self._staged = self.device.type != "cpu" if staged is None else staged
        self._slots = [_Slot(), _Slot()]  # the one that was filled last stands last

    def __contains__(self, key: tuple[int, ...] | None) -> bool:
        """Tell whether rows are there."""
        return key in self._kept

    def piece(self, block: Block, shift: NDArray[np.float64] | None) -> Piece:
        """Return rows on the device; unless kept, they are good until two more were brought."""
        piece = self._kept.get(block.key) if block.key is not None else None
        if piece is None:
            piece = self._new(block, shift)
            size = piece.nbytes
            if block.key is not None and self.kept_bytes + size <= self._cache_bytes:
                try:
                    piece = piece.kept()
                except torch.OutOfMemoryError:  # others need the device too
                    self._cache_bytes = self.kept_bytes
                else:
                    self._kept[block.key] = piece
                    self.kept_bytes += size
            return piece
        live_before, shift_before = piece.asked
        moved = (shift is None) != (shift_before is None) or (
            shift is not None and shift_before is not None and not np.array_equal(shift, shift_before)
        )
        if moved or not np.array_equal(live_before, block.live):
            live, *scales = self._bring([block.live, *([] if shift is None else [shift])])
            piece.live, piece.shift = live.clone(), scales[0].clone() if scales else None
            piece.asked, piece.terms = (block.live, shift), None
        return piece

    def retain(self, keys: set[tuple[int, ...]]) -> None:
        """Let go of all other rows: those that compaction rewrote."""
        for key in self._kept.keys() - keys:
            self.kept_bytes -= self._kept.pop(key).nbytes

    def tensor(self, array: NDArray[Any]) -> Any:
        """Return a small array on the device."""
        return _as_tensor(np.ascontiguousarray(array)).to(self.device)

    def _new(self, block: Block, shift: NDArray[np.float64] | None) -> Piece:
        if block.codes is not None and block.code_scale is not None and block.code_error is not None:
            stored: list[NDArray[Any]] = [block.codes]
            coded: list[NDArray[Any]] = [block.code_scale, block.code_error]
        else:
            block.check(None)
            stored, coded = [block.rh, block.gh], []
        few = [block.norms, *coded, block.live, *([] if shift is None else [shift])]
        stored = [rows.view(np.int16) if rows.dtype == np.uint16 else rows for rows in stored]
        *brought, norms = self._bring([*stored, *few[1:], few[0]])
        matrices = tuple(rows.view(torch.bfloat16) if rows.dtype == torch.int16 else rows for rows in brought)
        matrices, rest = matrices[: len(stored)], brought[len(stored) :]
        scale, error = (rest.pop(0), rest.pop(0)) if coded else (None, None)
        whole = block.rh.dtype == np.int8
        live, moved = rest[0], rest[1] if len(rest) > 1 else None
        return Piece(matrices, norms, scale, error, whole, live, moved, (block.live, shift))

    def _bring(self, arrays: Sequence[NDArray[Any]]) -> list[Any]:
        """Return arrays of as many rows each on the device, rows (and numbers of int8) padded with zeros."""
        tensors = [_as_tensor(array) for array in arrays]
        if not self._staged:
            return tensors
        rows = _padded(len(arrays[0]))
        widths = [[_padded(n) if one.dtype == torch.int8 else n for n in one.shape[1:]] for one in tensors]
        sizes = [rows * int(np.prod(width)) * one.itemsize for width, one in zip(widths, tensors, strict=True)]
        starts = np.cumsum([0, *(-(-size // _ALIGNED) * _ALIGNED for size in sizes)]).tolist()
        places = list(zip(starts, sizes, widths, tensors, strict=False))

        def views(buffer: Any) -> list[Any]:
            return [
                buffer[start : start + size].view(one.dtype).view(rows, *width) for start, size, width, one in places
            ]

        slot = self._next_slot(starts[-1])
        for view, one in zip(views(slot.pinned), tensors, strict=True):
            inner = view[: len(one)] if one.ndim == 1 else view[: len(one), : one.shape[1]]
            view[len(one) :].zero_()
            if inner.shape[1:] != view.shape[1:]:
                view[:, one.shape[1] :].zero_()
            inner.copy_(one)  # by as many threads as torch has
        with self.streams.copying():
            slot.there[: starts[-1]].copy_(slot.pinned[: starts[-1]], non_blocking=True)
        slot.copied = self.streams.mark(copying=True)
        self.streams.wait(slot.copied)
        self.brought_bytes += starts[-1]
        return views(slot.there)

    def _next_slot(self, size: int) -> _Slot:
        """Return the slot that was filled first, when its pinned half is free; its other half will be, in time."""
        self._slots[-1].used = self.streams.mark()  # all that computes with it was called for by now
        slot = self._slots.pop(0)
        self._slots.append(slot)
        if slot.copied is not None:
            slot.copied.synchronize()
        if len(slot.pinned) < size:
            slot.pinned = torch.empty(size, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
            slot.there = torch.empty(size, dtype=torch.uint8, device=self.device)
            slot.used = self.streams.mark()  # what had this memory before
        self.streams.wait(slot.used, copying=True)
        return slot


class Lanes:
    """The devices of one index, and what stays on them from query to query; one scan at a time.

    Parameters
    ----------
    devices
        As torch names them; the same one may stand there twice.
    cache_bytes
        As of :class:`Lane`, for each.

    Attributes
    ----------
    capacity
        Candidates for a query that the last scan needed.
    are_wrong
        Whether an exact score was above its bound: then a device does not compute what it should.

    Raises
    ------
    InvalidInput
        If there is no such device.
    """

    def __init__(self, devices: Sequence[str], cache_bytes: int | Literal["auto"] = 0) -> None:
        try:
            self.lanes = [Lane(device, cache_bytes) for device in devices]
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
            msg = f"a scan cannot run on {', '.join(devices)}: {str(error).splitlines()[0]}"
            raise InvalidInput(msg) from error
        self.lock = threading.Lock()
        self.capacity = 0
        self.are_wrong = False

    def pieces(
        self, blocks: Iterator[tuple[int, Block, NDArray[np.float64] | None]], piece_bytes: int
    ) -> Iterator[tuple[Lane, int, int, Piece]]:
        """Yield rows on their lanes: (lane, number of the block, first row, piece); the next goes to the next lane."""
        seen, turn = set(), 0
        for number, block, shift in blocks:
            for rows in even_slices(len(block), max(piece_bytes // _row_bytes(block), 1)):
                part = block.part(rows)
                lane = self.lanes[turn % len(self.lanes)]
                lane = next((one for one in self.lanes if part.key in one), lane)
                yield lane, number, rows.start, lane.piece(part, None if shift is None else shift[rows])
                turn += 1
                if part.key is not None:
                    seen.add(part.key)
        for lane in self.lanes:
            lane.retain(seen)


def even_slices(rows: int, most: int) -> list[slice]:
    """Cut rows into as few slices as may be, of nearly the same length.

    Examples
    --------
    >>> even_slices(10, 4)
    [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
    """
    each = -(-rows // max(-(-rows // most), 1))
    return [slice(start, min(start + each, rows)) for start in range(0, rows, max(each, 1))]


def _row_bytes(block: Block) -> int:
    arrays: list[NDArray[Any]] = [block.rh, block.gh] if block.codes is None else [block.codes]
    return sum(int(array.shape[1]) * array.itemsize for array in arrays) + 32


def _padded(count: int) -> int:
    return -(-count // PAD) * PAD


def _as_tensor(array: NDArray[Any]) -> Any:
    """Return an array as a tensor on the CPU that is only read: mapped files are read-only, of which torch warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
