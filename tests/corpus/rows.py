"""Random rows, and files of them as others write them."""

import gzip
import json

import zstandard
from hypothesis import strategies as st

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
rows = st.dictionaries(st.text(max_size=8), values, max_size=4)
packings = st.sampled_from(["", ".gz", ".zst"])


def frame(data, packing):
    """Compress as one member or frame."""
    match packing:
        case ".gz":
            return gzip.compress(data)
        case ".zst":
            return zstandard.ZstdCompressor(write_checksum=True).compress(data)
        case _:
            return data


def packed(data, packing, cut=0):
    """Compress as two, the first of `cut` bytes."""
    return frame(data[:cut], packing) + frame(data[cut:], packing)


def json_lines(rows, **options):
    return b"".join(json.dumps(row, **options).encode() + b"\n" for row in rows)


def written(path, data):
    path.write_bytes(data)
    return path


def before_error(reader, error):
    """Read until `error` is raised; return the rows before it and its message."""
    seen = []
    try:
        for row in reader:
            seen.append(row)  # noqa: PERF402  a list of the reader would be lost with the error
    except error as raised:
        return seen, str(raised)
    message = f"{error.__name__} was not raised"
    raise AssertionError(message)
