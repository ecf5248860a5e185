"""Segments: immutable zarr v3 groups of rows. zarr lays out the bytes, ``vfs`` writes them, NumPy maps them.

A chunk is its elements little-endian and a crc32c, so a mapped chunk is an array as it lies, any zarr reader opens the
same folder, and both notice a flipped bit. Each chunk is checked when this process first touches it.
"""

import itertools
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.errors import Corrupt
from risedb.storage import vfs
from risedb.storage.checksum import crc32c
from risedb.storage.format import FORMAT_VERSION
from risedb.storage.rows import StoredRows

_SUMMARY = "segment.json"
_OPEN_MAPS = 64  # each keeps a file descriptor


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one array is cut into files."""

    shape: tuple[int, ...]
    dtype: str
    chunk_rows: int

    @property
    def chunk_bytes(self) -> int:
        return self.chunk_rows * math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize

    def files(self, name: str) -> list[str]:
        rest = "/0" * (len(self.shape) - 1)
        return [f"{name}/c/{i}{rest}" for i in range(math.ceil(self.shape[0] / self.chunk_rows))]


def write_segment(
    folder: Path,
    rows: StoredRows,
    records: list[bytes],
    *,
    chunk_bytes: int,
    extra: Mapping[str, Any],
) -> None:
    """Write a segment's folder and make every byte of it durable; nothing names it yet.

    Parameters
    ----------
    folder
        Must not exist.
    rows, records
        n rows, and each one's packed record.
    chunk_bytes
        Most bytes of one channel in one file.
    extra
        What segment.json says beside the layout: identity, commit.
    """
    ends = np.cumsum([len(record) for record in records]).astype(np.uint64)
    arrays: dict[str, NDArray[Any]] = {
        "rh": rows.rh,
        "gh": rows.gh,
        "norms": rows.norms,
        "sequence": rows.sequence,
        "commit": rows.commit,
        "records": np.frombuffer(b"".join(records), np.uint8),
        "record_ends": ends,
    }
    widest = max(rows.rh[:1].nbytes, rows.gh[:1].nbytes)
    chunks = math.ceil(len(rows) * widest / chunk_bytes)
    row_chunk = math.ceil(len(rows) / chunks)  # rh and gh are cut alike: a block is a chunk of each
    blob_chunk = math.ceil(len(arrays["records"]) / math.ceil(len(arrays["records"]) / chunk_bytes))
    layouts = {
        name: _Layout(
            array.shape,
            array.dtype.newbyteorder("<").str,
            blob_chunk if name == "records" else row_chunk,
        )
        for name, array in arrays.items()
    }
    files = _zarr_files(arrays, layouts)
    for name, data in files.items():
        vfs.make_folder((folder / name).parent)
        vfs.write_file(folder / name, data)
    summary = {
        "format_version": FORMAT_VERSION,
        "rows": len(rows),
        "arrays": {
            name: {"shape": layout.shape, "dtype": layout.dtype, "chunk_rows": layout.chunk_rows}
            for name, layout in layouts.items()
        },
        "files": {name: {"bytes": len(data), "crc32c": crc32c(data)} for name, data in files.items()},
        "replaces": rows.replaces.tolist(),
        **extra,
    }
    vfs.write_file(folder / _SUMMARY, json.dumps(summary, indent=1).encode())
    vfs.sync_tree(folder)


def _zarr_files(arrays: Mapping[str, NDArray[Any]], layouts: Mapping[str, _Layout]) -> dict[str, bytes]:
    """Let zarr lay the arrays out in memory: file name to bytes."""
    import zarr  # 0.3 s that only a writer needs
    from zarr.codecs import Crc32cCodec

    laid_out: dict[str, Any] = {}
    group = zarr.create_group(zarr.storage.MemoryStore(laid_out), zarr_format=3)
    for name, array in arrays.items():
        group.create_array(
            name,
            data=array.astype(layouts[name].dtype, copy=False),
            chunks=(layouts[name].chunk_rows, *array.shape[1:]),
            filters=None,
            compressors=[Crc32cCodec()],
            config={"write_empty_chunks": True},
        )
    return {name: buffer.to_bytes() for name, buffer in laid_out.items()}


class Segment:
    """One segment on disk, read through maps.

    Parameters
    ----------
    folder
        The segment's folder.

    Raises
    ------
    Corrupt
        If segment.json is missing or damaged; when rows are read, if a chunk is.
    """

    _maps: OrderedDict[tuple[int, str], NDArray[np.uint8]] = OrderedDict()  # noqa: RUF012  one bound for the whole process
    _maps_lock = threading.Lock()
    _numbers = itertools.count()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = next(self._numbers)  # not the path, at which another index may come to lie
        summary = self.read_summary(folder)
        self.rows: int = summary["rows"]
        self.files: dict[str, dict[str, int]] = summary["files"]
        self.replaces: list[int] = summary["replaces"]
        self._layouts = {
            name: _Layout(tuple(array["shape"]), array["dtype"], array["chunk_rows"])
            for name, array in summary["arrays"].items()
        }
        self._checked: set[str] = set()

    @staticmethod
    def read_summary(folder: Path) -> dict[str, Any]:
        """Return segment.json."""
        try:
            summary: dict[str, Any] = json.loads((folder / _SUMMARY).read_bytes())
            version = summary["format_version"]
        except (OSError, ValueError, KeyError) as error:
            msg = f"{folder / _SUMMARY} cannot be read: {error}. Run risedb verify"
            raise Corrupt(msg) from error
        if version != FORMAT_VERSION:
            msg = f"{folder} is a segment of format version {version}; this RiseDB reads {FORMAT_VERSION}"
            raise Corrupt(msg)
        return summary

    @property
    def nbytes(self) -> int:
        """Bytes of all files but segment.json."""
        return sum(file["bytes"] for file in self.files.values())

    def blocks(self) -> Iterator[StoredRows]:
        """Yield the rows chunk by chunk, as views of mapped files; ``replaces`` is left empty."""
        chunk_rows = self._layouts["rh"].chunk_rows
        for i in range(math.ceil(self.rows / chunk_rows)):
            yield StoredRows(
                sequence=self._chunk("sequence", i),
                commit=self._chunk("commit", i),
                rh=self._chunk("rh", i),
                gh=self._chunk("gh", i),
                norms=self._chunk("norms", i),
                replaces=np.empty(0, dtype=np.uint64),
            )

    def sequences(self) -> NDArray[np.uint64]:
        """Return every row's sequence number, (n,)."""
        return self._whole("sequence")

    def records(self) -> Iterator[bytes]:
        """Yield each row's packed record: the copy from which a catalog can be rebuilt."""
        blob = self._whole("records").tobytes()
        start = 0
        for end in self._whole("record_ends").tolist():
            yield blob[start:end]
            start = end

    def _whole(self, name: str) -> NDArray[Any]:
        count = len(self._layouts[name].files(name))
        return np.concatenate([self._chunk(name, i) for i in range(count)])

    def _chunk(self, name: str, i: int) -> NDArray[Any]:
        """Map one chunk: (rows of it, …), without zarr's padding of the last one."""
        layout = self._layouts[name]
        data = self._map(layout.files(name)[i], layout.chunk_bytes)
        rows = min(layout.chunk_rows, layout.shape[0] - i * layout.chunk_rows)
        array = np.frombuffer(data, layout.dtype, layout.chunk_bytes // np.dtype(layout.dtype).itemsize)
        return array.reshape(layout.chunk_rows, *layout.shape[1:])[:rows]

    def _map(self, name: str, size: int) -> NDArray[np.uint8]:
        """Map a file of the segment, from a cache that bounds how many are open; check it at first touch."""
        with self._maps_lock:
            data = self._maps.pop((self._number, name), None)
            if data is None:
                data = _mapped(self.folder / name, size + 4)
            self._maps[self._number, name] = data
            if len(self._maps) > _OPEN_MAPS:
                self._maps.popitem(last=False)  # unmapped when the last array over it goes
        if name not in self._checked:
            if crc32c(data[:-4]) != int.from_bytes(data[-4:].tobytes(), "little"):
                msg = f"{self.folder / name} is damaged: its checksum does not fit. Run risedb verify"
                raise Corrupt(msg)
            self._checked.add(name)
        return data


def _mapped(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        data = np.frombuffer(vfs.map_file(path), np.uint8)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}. Run risedb verify"
        raise Corrupt(msg) from error
    if len(data) != size:
        msg = f"{path} has {len(data)} bytes where {size} were written. Run risedb verify"
        raise Corrupt(msg)
    return data
