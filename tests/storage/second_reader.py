"""A reader of index format 1, written from FORMAT.md alone: it imports nothing of RiseDB and checks what it reads."""

import json
import math
import struct
import sys
from typing import NamedTuple

import google_crc32c
import lmdb
import numpy as np
import xxhash
import zstandard

DATABASES = ("meta", "ids", "segments", "tail", "tombstones", "deletions", "retired", "commits")
TYPES = {"float16": "<f2", "float32": "<f4", "bfloat16": "<u2", "int8": "|i1"}


class Row(NamedTuple):
    sequence: int
    commit: int
    content: bytes
    rh: np.ndarray  # float32; or int8 codes, which `scale` multiplies
    gh: np.ndarray
    norms: np.ndarray
    scale: float
    id: str
    record: dict
    place: str  # a segment's name, or "tail"


class Index(NamedTuple):
    rows: dict[int, Row]  # by sequence number, live or not
    tombstones: dict[int, int]  # sequence to commit
    lasting: dict[int, int]  # those that segments and files of deletions tell of
    versions: dict[str, list[tuple[int, int, int, bytes]]]  # of an id, newest first: sequence, born, died, content
    commits: dict[int, dict]
    meta: dict[str, dict]

    def live(self, at=None):
        """Return the rows of the index as of a commit, in the order of their sequence numbers."""
        at = max(self.commits, default=0) if at is None else at
        dead = {sequence for sequence, commit in self.tombstones.items() if commit <= at}
        return [row for sequence, row in sorted(self.rows.items()) if row.commit <= at and sequence not in dead]


def require(truth, what):
    if not truth:
        raise ValueError(what)


def unsealed(value, key=b""):
    require(google_crc32c.value(key + value[:-4]) == int.from_bytes(value[-4:], "little"), "a crc32c does not fit")
    return value[:-4]


def sealed_json(path):
    line, check = path.read_bytes().splitlines()
    require(google_crc32c.value(line) == int(check, 16), f"the crc32c of {path} does not fit")
    return json.loads(line)


def pairs(data):
    return dict(np.frombuffer(data, "<u8").reshape(-1, 2).tolist())


def rows_of(arrays, blob, dtype, place):
    """Put rows together from the arrays of a segment or of a tail block, and their records."""
    if dtype == "bfloat16":
        arrays |= {name: (arrays[name].astype(np.uint32) << 16).view(np.float32) for name in ("rh", "gh")}
    elif dtype != "int8":
        arrays |= {name: arrays[name].astype(np.float32) for name in ("rh", "gh")}
    rows, start = {}, 0
    for i, end in enumerate(arrays["record_ends"].tolist()):
        sequence, commit, content, rh, gh, norms, scale = (arrays[name][i] for name in Row._fields[:7])
        values = int(sequence), int(commit), content.tobytes(), rh, gh, norms, float(scale)
        rows[values[0]] = Row(*values, *json.loads(zstandard.decompress(blob[start:end])), place)
        start = end
    return rows


def tail_rows(block, dtype):
    n, rh_width, gh_width = struct.unpack_from("<3I", block)
    kinds = ["<u8", "<u8", "|u1", TYPES[dtype], TYPES[dtype], "<f4", "<f4", "<u8"]
    shapes = [(n,), (n,), (n, 16), (n, rh_width), (n, gh_width), (n, 2), (n,), (n,)]
    arrays, at = {}, 12
    for name, kind, shape in zip([*Row._fields[:7], "record_ends"], kinds, shapes, strict=True):
        arrays[name] = np.frombuffer(block, kind, math.prod(shape), at).reshape(shape)
        at += arrays[name].nbytes
    return rows_of(arrays, block[at:], dtype, "tail")


def segment(folder, dtype):
    """Return the rows of a segment, and the tombstones that it tells of."""
    summary = sealed_json(folder / "segment.json")
    for name, about in summary["files"].items():
        data = (folder / name).read_bytes()
        body, check = (data[:-4], data[-4:]) if "/c/" in name else (data, about["crc32c"].to_bytes(4, "little"))
        found = {"bytes": len(data), "crc32c": google_crc32c.value(body)}
        require(found == about and found["crc32c"] == int.from_bytes(check, "little"), f"{folder / name} was changed")
    arrays = {}
    for name, layout in summary["arrays"].items():
        (n, *rest), size = layout["shape"], layout["chunk_rows"]
        chunks = ["/".join([str(i), *"0" * len(rest)]) for i in range(math.ceil(n / size))]
        data = b"".join(unsealed((folder / name / "c" / chunk).read_bytes()) for chunk in chunks)
        arrays[name] = np.frombuffer(data, layout["dtype"]).reshape(-1, *rest)[:n]
    arrays["scale"] = np.ones(summary["rows"], np.float32)
    if dtype == "int8":
        width, codes = summary["rh_width"], arrays["codes"]
        arrays |= {"rh": codes[:, :width], "gh": codes[:, width:], "scale": arrays["code_scale"]}
    return rows_of(arrays, arrays["records"].tobytes(), dtype, folder.name), pairs(arrays["tombstones"])


def versions_of(key, value):
    (count,) = struct.unpack_from(">H", value)
    end = 2 + 40 * count
    name = key[1:] if key[:1] == b"=" else value[end:]
    require(key[:1] == b"=" or xxhash.xxh3_128_digest(name) == key[1:], "an id's key is not made of it")
    return name.decode(), list(struct.iter_unpack(">QQQ16s", value[2:end]))


def read_index(path):
    about = sealed_json(path / "FORMAT")
    for name, known in {"format": "risedb", "version": 1, "requires": [], "byte_order": sys.byteorder}.items():
        require(about[name] == known, f"{path} is of {name} {about[name]}")
    stored = {}
    with lmdb.open(str(path / "catalog"), max_dbs=9, readonly=True, lock=False) as catalog, catalog.begin() as reading:
        for name in DATABASES:
            database = catalog.open_db(name.encode(), reading, create=False)
            stored[name] = {key: unsealed(value, key) for key, value in reading.cursor(database)}
    meta = {name: json.loads(stored["meta"][name.encode()]) for name in ("identity", "settings", "store")}
    dtype, rows, tombstones, lasting = meta["store"]["dtype"], {}, {}, {}
    pieces = [
        (key, *segment(path / "segments" / json.loads(value)["name"], dtype))
        for key, value in stored["segments"].items()
    ]
    pieces += [(key, tail_rows(block, dtype), {}) for key, block in stored["tail"].items()]
    for key, found, told in pieces:
        require(min(found) == int.from_bytes(key, "big") > max(rows, default=-1), "rows stand where they do not belong")
        rows, lasting = rows | found, lasting | told
    for name in stored["deletions"].values():
        lasting |= pairs(unsealed((path / "deletions" / name.decode()).read_bytes()))
    for block in stored["tombstones"].values():
        tombstones |= pairs(block)
    versions = dict(versions_of(key, value) for key, value in stored["ids"].items())
    commits = {int.from_bytes(key, "big"): json.loads(value) for key, value in stored["commits"].items()}
    return Index(rows, tombstones, lasting, versions, commits, meta)
