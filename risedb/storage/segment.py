"""Segments on disk: immutable zarr v3 groups of rows, read through maps.

A chunk is its elements little-endian and a crc32c, so a mapped chunk is an array as it lies, any zarr reader opens the
same folder, and both notice a flipped bit. Each chunk is checked when this process first touches it.
:mod:`risedb.storage.segment_writer` writes them.
"""

import functools
import itertools
import resource
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risedb.errors import Corrupt
from risedb.signature import RowCheck
from risedb.storage import vfs
from risedb.storage.checksum import row_checksums, unseal_json
from risedb.storage.codes import Codes
from risedb.storage.columns import Columns
from risedb.storage.format import FORMAT_VERSION
from risedb.storage.layout import Layout, is_intact
from risedb.storage.rows import StoredRows

SUMMARY = "segment.json"
COLUMNS = "columns.arrow"
_FEW = 40  # rows of a chunk: one in so many is checked alone sooner than all
_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
_OPEN_MAPS = 4096 if _DESCRIPTORS < 0 else min(max(_DESCRIPTORS // 4, 32), 4096)  # each keeps a descriptor


class Segment:
    """One segment on disk.

    Parameters
    ----------
    folder
        The segment's folder.

    Attributes
    ----------
    rows
        How many, live or not.
    chunks, chunk_rows
        Pieces that the row arrays are cut into, and rows in all but the last.
    summary
        segment.json.
    number
        The segment's own in this process, never given again.

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
        self.number = next(self._numbers)  # not the path, at which another index may come to lie
        self.summary = self.read_summary(folder)
        if self.summary.get("name") != folder.name:
            msg = f"{folder} is segment {self.summary.get('name')}, which was moved or renamed. Run risedb repair"
            raise Corrupt(msg)
        try:
            self.rows: int = self.summary["rows"]
            self._layouts = {name: Layout.from_dict(array) for name, array in self.summary["arrays"].items()}
            self.chunks = self._layouts["sequence"].chunks
            self.chunk_rows = self._layouts["sequence"].chunk_rows
            self.nbytes = sum(file["bytes"] for file in self.summary["files"].values())
        except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            msg = f"{folder / SUMMARY} is damaged: {error!r}. Run risedb verify"
            raise Corrupt(msg) from error
        self._checked: set[str] = set()
        self._checked_rows: dict[int, NDArray[np.bool_]] = {}

    @staticmethod
    def read_summary(folder: Path) -> dict[str, Any]:
        """Return segment.json, whatever the folder is called."""
        try:
            summary = unseal_json((folder / SUMMARY).read_bytes(), str(folder / SUMMARY))
            version = summary["format_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = f"{folder / SUMMARY} cannot be read: {error}. Run risedb verify"
            raise Corrupt(msg) from error
        if version != FORMAT_VERSION:
            msg = f"{folder} is a segment of format version {version}; this RiseDB reads {FORMAT_VERSION}"
            raise Corrupt(msg)
        return summary

    def vectors(self, i: int) -> tuple[NDArray[np.generic], NDArray[np.generic], RowCheck]:
        """Return rh and gh of chunk i, mapped but not yet checked, and what checks some or all of their rows."""
        if "rh" not in self._layouts:
            codes = self._chunk("codes", i)
            width = self.summary["rh_width"]
            return codes[:, :width], codes[:, width:], lambda _: None
        rh, gh = (self._chunk(name, i, check=False) for name in ("rh", "gh"))
        return rh, gh, functools.partial(self._check_rows, i, rh, gh)

    def chunk(self, name: str, i: int) -> NDArray[Any]:
        """Return chunk i of one of the smaller arrays: norms, sequence, commit."""
        return self._chunk(name, i)

    def codes(self, i: int) -> Codes | None:
        """Return the int8 companion of chunk i; None if the segment has none."""
        if "codes" not in self._layouts:
            return None
        codes, scale = self._chunk("codes", i), self._chunk("code_scale", i)
        error = self._chunk("code_error", i) if "code_error" in self._layouts else np.zeros(len(scale), np.float32)
        return Codes(codes, scale, error)

    def stored(self, i: int, row: int | None = None) -> StoredRows:
        """Return chunk i, of which all rows are checked, or the one that is wanted."""
        rh, gh, check = self.vectors(i)
        check(None if row is None else np.array([row]))
        scale = np.ones(len(rh), np.float32) if "rh" in self._layouts else self._chunk("code_scale", i)
        sequence, commit, content = (self._chunk(name, i) for name in ("sequence", "commit", "content"))
        return StoredRows(sequence, commit, content, rh, gh, self._chunk("norms", i), scale)

    def whole(self, name: str) -> NDArray[Any]:
        """Return all rows of one of the smaller arrays: sequence, commit, content, record_ends, tombstones."""
        layout = self._layouts[name]
        parts = [self._chunk(name, i) for i in range(layout.chunks)]
        return np.concatenate(parts) if parts else np.empty(layout.shape, layout.dtype)

    @functools.cached_property
    def sequence(self) -> NDArray[np.uint64]:
        """Sequence numbers of all rows, ascending."""
        return self.whole("sequence")

    @functools.cached_property
    def record_ends(self) -> NDArray[np.uint64]:
        """Where each row's packed record ends."""
        return self.whole("record_ends")

    def record(self, row: int) -> bytes:
        """Return one row's packed record, which carries its own checksum."""
        return self._record(int(self.record_ends[row - 1]) if row else 0, int(self.record_ends[row]))

    @functools.cached_property
    def columns(self) -> Columns:
        """The fields of the records, column by column."""
        return Columns(self._map(COLUMNS), str(self.folder / COLUMNS))

    def _record(self, start: int, end: int) -> bytes:
        size, record = self._layouts["records"].chunk_rows, b""
        while start < end:
            i, at = divmod(start, size)
            part = self._chunk("records", i, check=False)[at : at + end - start].tobytes()
            record += part
            start += len(part)
            if not part:
                msg = f"{self.folder}: a record ends beyond all records. Run risedb verify"
                raise Corrupt(msg)
        return record

    def _chunk(self, name: str, i: int, *, check: bool = True) -> NDArray[Any]:
        """Map one chunk: (rows of it, …), without zarr's padding of the last one."""
        layout = self._layouts[name]
        file = layout.file(name, i)
        data = self._map(file, check=check)
        if len(data) != layout.chunk_bytes + 4:
            msg = f"{self.folder / file} has {len(data)} bytes, and segment.json says otherwise. Run risedb verify"
            raise Corrupt(msg)
        rows = min(layout.chunk_rows, layout.shape[0] - i * layout.chunk_rows)
        array = np.frombuffer(data, layout.dtype, layout.chunk_bytes // np.dtype(layout.dtype).itemsize)
        return array.reshape(layout.chunk_rows, *layout.shape[1:])[:rows]

    def _check_rows(
        self, i: int, rh: NDArray[np.generic], gh: NDArray[np.generic], rows: NDArray[np.intp] | None
    ) -> None:
        """Check some rows of chunk i by their own checksums, or all of it where that is quicker."""
        files = [self._layouts[name].file(name, i) for name in ("rh", "gh")]
        if self._checked.issuperset(files):
            return
        known = self._checked_rows.setdefault(i, np.zeros(len(rh), np.bool_))
        if rows is not None and not len(rows := rows[~known[rows]]):
            return
        new = None if rows is None else np.unique(rows)
        if new is None or len(new) > len(rh) // _FEW:
            for file in files:
                self._map(file)
            return
        wrong = row_checksums(rh[new], gh[new]) != self._chunk("row_crc32c", i)[new]
        if wrong.any():
            row = i * self.chunk_rows + int(new[np.argmax(wrong)])
            msg = f"row {row} of {self.folder} is damaged: its checksum does not fit ({files[0]} or {files[1]})"
            raise Corrupt(f"{msg}. Run risedb verify")
        known[new] = True

    def _map(self, name: str, *, check: bool = True) -> NDArray[np.uint8]:
        """Map a file of the segment, from a cache that bounds how many are open; check it at first touch."""
        kept = self.summary["files"].get(name)
        with self._maps_lock:
            data = self._maps.pop((self.number, name), None)
            if data is None:
                data = _mapped(self.folder / name)
                if not is_intact(name, data, kept, whole=False):
                    raise self._damaged(name)
            self._maps[self.number, name] = data
            if len(self._maps) > _OPEN_MAPS:
                self._maps.popitem(last=False)  # unmapped when the last array over it goes
        if check and name not in self._checked:
            if not is_intact(name, data, kept):
                raise self._damaged(name)
            self._checked.add(name)
        return data

    def _damaged(self, name: str) -> Corrupt:
        return Corrupt(f"{self.folder / name} is damaged: its size or checksum does not fit. Run risedb verify")


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(vfs.map_file(path), np.uint8)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}. Run risedb verify"
        raise Corrupt(msg) from error
