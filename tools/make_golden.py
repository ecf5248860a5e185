"""Make the golden indexes of this format version: what every later RiseDB must read as it stands.

    python tools/make_golden.py

Each stored type gets tests/golden/<version>-<type>.tar.xz and, in <version>-<type>.json, what must be read from it,
which a list of rows keeps and not the store. Run it once a format version, when the format is final, and never for an
older one. The rows are always the same; names of files and times of commits are not.
"""

import io
import itertools
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risedb.config import Identity, ReadoutConfig, SketchConfig, StoreConfig
from risedb.signature import Signatures, narrowed, widened
from risedb.storage import NewRows, Store, backup
from risedb.storage.codes import encode
from risedb.storage.format import FORMAT_VERSION

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
SKETCH = SketchConfig(kr=4, kh=3, kg=5)
ODD_IDS = ["é 日本語 \U0001f9f6", "nul\0inside", "line\nbreak", " ", "=", "#", "x" * 511, "x" * 512, "ü" * 300]
RECORDS: list[dict[str, Any]] = [
    {},
    {"source": "c4", "label": 1, "score": 0.1, "ok": True, "none": None},
    {"source": "日本語", "label": "1", "score": -1e-300, "big": 2**70, "tags": ["a", {"b": []}]},
    {"source": "", "score": 1e16, "é.\0": "x", "long": "ü" * 200},
]


class Golden:
    """An index that is being made, and beside it the rows it must have."""

    def __init__(self, path: Path, dtype: str) -> None:
        identity = Identity(readout=ReadoutConfig(), sketch=SKETCH, model="model", tokenizer="tokenizer")
        config = StoreConfig(dtype=dtype, chunk_bytes=300)
        self.store = Store.create(path, identity, {"model": "golden"}, config)
        self.store.lock()
        self.dtype = dtype
        self.rows: list[dict[str, Any]] = []
        self.sequence = itertools.count()
        self.commit = 0
        self.oldest = 0
        self.rng = np.random.default_rng(20260424)

    def append(self, ids: Sequence[str], **record: Any) -> None:
        """Add documents, or replace those that are there."""
        n = len(ids)
        rh, gh = (self.rng.normal(size=(n, width)) for width in (SKETCH.rh_dim, SKETCH.gh_dim))
        rh[0] = 0.0
        signatures = Signatures.from_phi(ids, rh, gh * 10.0 ** self.rng.integers(-3, 4, (n, 1)))
        records = [RECORDS[i % len(RECORDS)] | record for i in range(n)]
        content = [self.rng.bytes(16) for _ in ids]
        self.store.append(NewRows(signatures, content, records))
        self.commit += 1
        self._kill(ids)
        about = [
            {"id": name, "content": one.hex(), "record": record}
            for name, one, record in zip(ids, content, records, strict=True)
        ]
        for row, stored in zip(about, self._stored(signatures), strict=True):
            self.rows.append({"sequence": next(self.sequence), "commit": self.commit, "died": 0, **row, **stored})

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents that are there."""
        self.store.delete(ids)
        self.commit += 1
        self._kill(ids)

    def compact(self) -> None:
        """Forget the dead rows, and the history."""
        self.store.compact()
        self.commit += 1
        self.oldest = self.commit
        self.rows = [row for row in self.rows if not row["died"]]

    def _kill(self, ids: Sequence[str]) -> None:
        for row in self.rows:
            if row["id"] in ids and not row["died"]:
                row["died"] = self.commit

    def _stored(self, signatures: Signatures) -> Iterator[dict[str, Any]]:
        """Yield what each row is rounded to: unit rows, or codes and their scale."""
        if self.dtype == "int8":
            codes = encode(signatures.rh, signatures.gh, signatures.norms)
            rh, gh = np.split(codes.codes, [SKETCH.rh_dim], axis=1)
            scale = codes.scale
        else:
            rh, gh = (widened(narrowed(rows, self.dtype)) for rows in (signatures.rh, signatures.gh))
            scale = np.ones(len(signatures), np.float32)
        for i in range(len(signatures)):
            row = {"rh": rh[i], "gh": gh[i], "norms": signatures.norms[i], "scale": scale[i]}
            yield {name: value.tolist() for name, value in row.items()}


def make(path: Path, dtype: str) -> dict[str, Any]:
    """Make an index with everything in it that a reader can meet; return what must be read from it."""
    golden = Golden(path, dtype)
    names = [f"document {i}" for i in range(20)]
    golden.append(ODD_IDS, part=1)
    golden.append(names[:6], part=2)
    golden.store.seal()
    golden.append([names[0], ODD_IDS[0], names[6], ODD_IDS[8]], part=3)
    golden.store.seal()
    golden.delete([names[1], ODD_IDS[1]])
    golden.compact()
    golden.append([names[2], *names[7:12]], part=4)
    golden.append([names[7], names[12]], part=5)
    golden.store.seal()
    golden.delete([names[3], names[8], ODD_IDS[6]])
    golden.append([names[4], names[13], names[14]], part=6)
    golden.append([names[13], names[1]], part=7)
    golden.delete([names[14], names[4]])
    golden.store.close()
    return {"dtype": dtype, "oldest_commit": golden.oldest, "newest_commit": golden.commit, "rows": golden.rows}


def packed(folder: Path) -> bytes:
    """Return a tar.xz with nothing of this machine in it; empty folders stay."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:xz") as tar:
        for path in sorted(path for path in folder.rglob("*") if path.name != "lock.mdb"):  # LMDB makes its own
            about = tar.gettarinfo(path, str(path.relative_to(folder)))
            about.mtime, about.uid, about.gid, about.uname, about.gname = 0, 0, 0, "", ""
            if path.is_file():
                with path.open("rb") as file:
                    tar.addfile(about, file)
            else:
                tar.addfile(about)
    return sink.getvalue()


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for dtype in ("float16", "float32", "bfloat16", "int8"):
        name = f"{FORMAT_VERSION}-{dtype}"
        if (GOLDEN / f"{name}.json").exists():
            sys.exit(f"{GOLDEN / name}.json is there; a golden index is not made again")
        with tempfile.TemporaryDirectory() as folder:
            expected = make(Path(folder, "made"), dtype)
            backup(Path(folder, "made"), Path(folder, "kept"))  # its catalog has no free pages
            (GOLDEN / f"{name}.tar.xz").write_bytes(packed(Path(folder, "kept")))
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in expected.pop("rows"))
        head = json.dumps(expected).removesuffix("}")
        (GOLDEN / f"{name}.json").write_text(f'{head}, "rows": [\n{rows}\n]}}\n')
        print(name, (GOLDEN / f"{name}.tar.xz").stat().st_size, (GOLDEN / f"{name}.json").stat().st_size)


if __name__ == "__main__":
    main()
