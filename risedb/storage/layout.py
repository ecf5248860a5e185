"""How the arrays of a segment are cut into files, as a zarr v3 group has it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from risedb.storage.checksum import crc32c


@dataclass(frozen=True, slots=True)
class Layout:
    """One array's shape, element type as NumPy writes it, and rows in a chunk."""

    shape: tuple[int, ...]
    dtype: str
    chunk_rows: int

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> Self:
        """Read what segment.json says of an array."""
        return cls(tuple(about["shape"]), about["dtype"], about["chunk_rows"])

    def as_dict(self) -> dict[str, Any]:
        """Return what segment.json says of an array."""
        return {"shape": self.shape, "dtype": self.dtype, "chunk_rows": self.chunk_rows}

    @property
    def chunks(self) -> int:
        """Count the chunks."""
        return math.ceil(self.shape[0] / self.chunk_rows)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk, without its checksum."""
        return self.chunk_rows * math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize

    def file(self, name: str, i: int) -> str:
        """Name the file of chunk i of the array `name`, relative to the segment."""
        return f"{name}/c/{i}" + "/0" * (len(self.shape) - 1)

    def chunk(self, array: np.ndarray[Any, Any]) -> bytes:
        """Return the file of a chunk: elements little-endian, zeros up to the chunk's size, a crc32c."""
        data = array.astype(self.dtype, copy=False).tobytes()
        data += bytes(self.chunk_bytes - len(data))
        return data + crc32c(data).to_bytes(4, "little")


def fingerprint(name: str, data: bytes) -> dict[str, int]:
    """Return what segment.json keeps of a file: its size and its crc32c; of a chunk, the crc32c in which it ends.

    The crc32c of bytes and their own crc32c together is one number for all bytes, and would tell no two chunks apart.
    """
    return {"bytes": len(data), "crc32c": int.from_bytes(data[-4:], "little") if _is_chunk(name) else crc32c(data)}


def is_intact(
    name: str, data: NDArray[np.uint8] | bytes, kept: Mapping[str, int] | None, *, whole: bool = True
) -> bool:
    """Tell whether a file is the one whose :func:`fingerprint` was kept.

    Parameters
    ----------
    whole
        Look at every byte, not only at the size and at a chunk's last 4.
    """
    if kept is None or len(data) != kept["bytes"]:
        return False
    if _is_chunk(name):
        if bytes(data[-4:]) != kept["crc32c"].to_bytes(4, "little"):
            return False
        data = data[:-4]
    return not whole or crc32c(data) == kept["crc32c"]


def _is_chunk(name: str) -> bool:
    return "/c/" in name


def zarr_metadata(layouts: Mapping[str, Layout], attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the ``zarr.json`` files of a group of arrays: file name to bytes.

    Parameters
    ----------
    layouts, attributes
        By the arrays' names; an array need not have attributes.
    """
    import zarr  # 0.3 s that only a writer needs
    from zarr.codecs import Crc32cCodec

    files: dict[str, Any] = {}
    group = zarr.create_group(zarr.storage.MemoryStore(files), zarr_format=3)
    for name, layout in layouts.items():
        group.create_array(
            name,
            shape=layout.shape,
            chunks=(layout.chunk_rows, *layout.shape[1:]),
            dtype=layout.dtype,
            filters=None,
            compressors=[Crc32cCodec()],
            attributes=dict(attributes.get(name, {})),
        )
    return {name: buffer.to_bytes() for name, buffer in files.items()}
