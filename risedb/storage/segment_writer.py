"""Writes a segment in one pass: NumPy gives the bytes, ``vfs`` writes them, zarr describes them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.config import StoreConfig
from risedb.storage import vfs
from risedb.storage.checksum import row_checksums, seal_json
from risedb.storage.codes import encode
from risedb.storage.columns import columns_bytes
from risedb.storage.format import FORMAT_VERSION
from risedb.storage.layout import Layout, fingerprint, zarr_metadata
from risedb.storage.records import unpack_record
from risedb.storage.rows import StoredRows, rechunked
from risedb.storage.segment import COLUMNS, SUMMARY


@dataclass(frozen=True, slots=True, eq=False)
class SegmentPlan:
    """What a segment is to hold, known before its first byte is written.

    Parameters
    ----------
    rows
        How many; at least one.
    row_bytes
        Of the wider channel, in the stored dtype.
    record_bytes
        Of all packed records.
    tombstones
        (m, 2) uint64: sequence and commit of deletions that this segment makes lasting.
    about
        What segment.json says beside the layout: identity, commit, superseded segments.
    """

    rows: int
    row_bytes: int
    record_bytes: int
    tombstones: NDArray[np.uint64]
    about: Mapping[str, Any]


def write_segment(
    folder: Path, plan: SegmentPlan, parts: Iterator[tuple[StoredRows, Sequence[bytes]]], config: StoreConfig
) -> None:
    """Write a segment's folder and make every byte of it durable; nothing names it yet.

    Memory holds one chunk of rows at a time.

    Parameters
    ----------
    folder
        Must not exist.
    parts
        Rows, each with its packed record, in the order of their sequence numbers.
    config
        Chunk size, dtype, codes.
    """
    files: dict[str, dict[str, int]] = {}

    def put(name: str, data: bytes) -> None:
        vfs.make_folder((folder / name).parent)
        vfs.write_file(folder / name, data)
        files[name] = fingerprint(name, data)

    chunk_rows = _even(plan.rows, math.ceil(plan.rows * plan.row_bytes / config.chunk_bytes))
    layouts: dict[str, Layout] = {}
    records = _Blob(plan.record_bytes, config.chunk_bytes, put)

    def write_chunks() -> Iterator[dict[str, Any]]:
        """Write chunk after chunk, and yield the documents' records on the way."""
        for i, (rows, packed) in enumerate(rechunked(parts, chunk_rows)):
            arrays = _row_arrays(rows, config) | {"record_ends": records.append(packed)}
            for name, array in arrays.items():  # all cut alike: a block of the scan is a chunk of each
                layouts[name] = Layout((plan.rows, *array.shape[1:]), array.dtype.newbyteorder("<").str, chunk_rows)
                put(layouts[name].file(name, i), layouts[name].chunk(array))
            for record in packed:
                yield unpack_record(record, "a record on its way into a segment")[1]

    put(COLUMNS, columns_bytes(write_chunks()))
    layouts["records"] = records.finish()
    layouts["tombstones"] = Layout(plan.tombstones.shape, "<u8", max(len(plan.tombstones), 1))
    if len(plan.tombstones):
        put(layouts["tombstones"].file("tombstones", 0), layouts["tombstones"].chunk(plan.tombstones))
    attributes = {name: {"dtype": "bfloat16"} for name in ("rh", "gh")} if config.dtype == "bfloat16" else {}
    for name, data in zarr_metadata(layouts, attributes).items():
        put(name, data)
    summary = {
        "format_version": FORMAT_VERSION,
        "rows": plan.rows,
        "arrays": {name: layout.as_dict() for name, layout in layouts.items()},
        "files": files,
        **plan.about,
    }
    vfs.write_file(folder / SUMMARY, seal_json(summary))
    vfs.sync_tree(folder)


class _Blob:
    """The packed records of all rows, one after the other, cut into chunks as they come."""

    def __init__(self, total_bytes: int, chunk_bytes: int, put: Callable[[str, bytes], None]) -> None:
        self._layout = Layout((total_bytes,), "|u1", _even(total_bytes, math.ceil(total_bytes / chunk_bytes)))
        self._put = put
        self._waiting = bytearray()
        self._written = 0  # chunks
        self._end = 0

    def append(self, packed: Sequence[bytes]) -> NDArray[np.uint64]:
        """Take records, and return where each one ends."""
        for record in packed:
            self._waiting += record
        while len(self._waiting) >= self._layout.chunk_rows:
            self._write(self._layout.chunk_rows)
        ends = self._end + np.cumsum([len(record) for record in packed], dtype=np.uint64)
        self._end = int(ends[-1])
        return ends

    def finish(self) -> Layout:
        """Write what waits, and tell how the whole is cut."""
        if self._waiting:
            self._write(len(self._waiting))
        return self._layout

    def _write(self, size: int) -> None:
        part = np.frombuffer(bytes(self._waiting[:size]), np.uint8)
        del self._waiting[:size]
        self._put(self._layout.file("records", self._written), self._layout.chunk(part))
        self._written += 1


def _row_arrays(rows: StoredRows, config: StoreConfig) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        "norms": rows.norms,
        "sequence": rows.sequence,
        "commit": rows.commit,
        "content": rows.content,
    }
    if config.dtype == "int8":
        arrays |= {"codes": np.concatenate([rows.rh, rows.gh], axis=1), "code_scale": rows.scale}
    else:
        arrays |= {"rh": rows.rh, "gh": rows.gh, "row_crc32c": row_checksums(rows.rh, rows.gh)}
        if config.codes == "int8":
            coded = encode(rows.rh, rows.gh, rows.norms)
            arrays |= {"codes": coded.codes, "code_scale": coded.scale, "code_error": coded.error}
    return arrays


def _even(total: int, parts: int) -> int:
    """Return the size of parts that are as many and as even as can be: zarr pads the last one."""
    return math.ceil(total / max(parts, 1))
