"""An index's documents in a file for other tools: Parquet with the vectors, or JSON lines of the records."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from risedb.database.outfile import whole_file
from risedb.errors import AlreadyExists, InvalidInput
from risedb.signature import Signatures


def export(documents: Iterator[tuple[Signatures, list[dict[str, Any]]]], path: Path) -> int:
    """Write documents to a new file and return how many there were.

    Parameters
    ----------
    documents
        As :meth:`risedb.RiseDB.documents` yields them.
    path
        ``.parquet``: a row a document with its id, its record as JSON, the norms of both channels, and the unit rows rh
        and gh in float32. ``.jsonl``: the records alone, as they were added.

    Raises
    ------
    AlreadyExists
        If the file is there.
    InvalidInput, OutOfSpace
        If its name ends otherwise, or it cannot be written; then it is not there.
    """
    writers = {".parquet": _write_parquet, ".jsonl": _write_jsonl}
    if path.suffix not in writers:
        msg = f"{path} ends neither in .parquet nor in .jsonl"
        raise InvalidInput(msg)
    if path.exists():
        msg = f"{path} is there already; choose another name"
        raise AlreadyExists(msg)
    with whole_file(path) as part:
        return writers[path.suffix](documents, part)


def _write_parquet(documents: Iterator[tuple[Signatures, list[dict[str, Any]]]], path: Path) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    count, writer = 0, None
    try:
        for signatures, records in documents:
            vectors = {name: _fixed_size_list(getattr(signatures, name)) for name in ("rh", "gh")}
            table = pa.table(
                {
                    "id": pa.array(signatures.ids, pa.string()),
                    "record": pa.array([json.dumps(record, ensure_ascii=False) for record in records], pa.string()),
                    "norm_rh": pa.array(signatures.norms[:, 0]),
                    "norm_gh": pa.array(signatures.norms[:, 1]),
                    **vectors,
                }
            )
            writer = writer or parquet.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            count += len(signatures)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        parquet.write_table(pa.table({"id": pa.array([], pa.string())}), path)
    return count


def _fixed_size_list(rows: Any) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(rows.astype("float32").ravel()), rows.shape[1])


def _write_jsonl(documents: Iterator[tuple[Signatures, list[dict[str, Any]]]], path: Path) -> int:
    count = 0
    with path.open("x", encoding="utf-8") as file:
        for signatures, records in documents:
            for record in records:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += len(signatures)
    return count
