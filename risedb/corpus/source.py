"""One name for any source of rows: which reader it calls for, and about how many rows it holds."""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from risedb.corpus.dataset_rows import load_folder, read_dataset
from risedb.corpus.file_bytes import open_bytes
from risedb.corpus.json_rows import read_json, read_jsonl, read_stdin
from risedb.corpus.row import BadRow, Row
from risedb.corpus.table_rows import count_parquet, read_csv, read_parquet
from risedb.corpus.text_rows import read_text_file, read_text_folder, text_files
from risedb.errors import InvalidInput, NotFound

_Reader = Callable[[str], Iterator[Row | BadRow]]
_Counter = Callable[[str], int | None]

_DATASET_FILES = ("dataset_dict.json", "dataset_info.json", "state.json")
_HUB = "hf://"
_CHUNK_BYTES = 2**20


def read(source: str | os.PathLike[str]) -> Iterator[Row | BadRow]:
    """Read rows from whatever `source` names.

    Parameters
    ----------
    source
        A ``.jsonl``, ``.ndjson``, ``.json``, ``.csv``, ``.tsv`` or ``.txt`` file, also with ``.gz``
        or ``.zst`` after it; a ``.parquet`` file; a folder of ``.txt`` files, or one that
        ``datasets`` saved; ``-`` for JSON lines on stdin; ``hf://NAME`` or ``hf://NAME:split`` for
        a dataset on the Hugging Face hub, or a split in a folder.

    Raises
    ------
    NotFound
        At once, if nothing is there.
    InvalidInput
        At once, if it is of no kind that is read; while reading, if it holds no rows.

    Examples
    --------
    >>> read("pool.pdf")
    Traceback (most recent call last):
    ...
    risedb.errors.NotFound: pool.pdf does not exist
    """
    name = os.fspath(source)
    if name == "-":
        return read_stdin()
    if name.startswith(_HUB):
        return read_dataset(*_hub_name(name))
    if not os.path.exists(name):
        msg = f"{name} does not exist"
        raise NotFound(msg)
    if os.path.isdir(name):
        return read_dataset(name) if _is_dataset(name) else read_text_folder(name)
    return _format(name)[0](name)


def read_all(sources: Iterable[str | os.PathLike[str]]) -> Iterator[Row | BadRow]:
    """Read several sources one after the other; a name that :func:`read` refuses is refused at once."""
    return chain.from_iterable([read(source) for source in sources])


def count_rows(source: str | os.PathLike[str]) -> int | None:
    """Say how many rows a source holds, where that is cheap to know, for the time left of an add.

    Returns
    -------
    int | None
        At least as many as :func:`read` will yield: blank lines and those inside a quoted field are
        counted too. None for stdin, the hub, a ``.json`` file, and what cannot be read; `read` says
        why.
    """
    name = os.fspath(source)
    try:
        return _count(name)
    except (InvalidInput, NotFound):
        return None


def _count(name: str) -> int | None:
    if name.startswith(_HUB):
        folder, split = _hub_name(name)
        return len(load_folder(folder, split)[0]) if os.path.isdir(folder) else None
    if os.path.isdir(name):
        return len(load_folder(name, "train")[0] if _is_dataset(name) else text_files(name))
    if not os.path.isfile(name):  # nothing, stdin, or a pipe, which can be read but once
        return None
    return _format(name)[1](name)


def _count_lines(name: str) -> int:
    lines, last = 0, b"\n"
    with open_bytes(name) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")


def _hub_name(name: str) -> tuple[str, str]:
    dataset, _, split = name.removeprefix(_HUB).partition(":")
    if not dataset:
        msg = f"{name} names no dataset; write hf://NAME or hf://NAME:split"
        raise InvalidInput(msg)
    return dataset, split or "train"


def _is_dataset(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, file)) for file in _DATASET_FILES)


def _count_table(name: str) -> int:
    return max(_count_lines(name) - 1, 0)


def _count_one(_: str) -> int:
    return 1


def _count_unknown(_: str) -> None:
    return None


_TEXT: dict[str, tuple[_Reader, _Counter]] = {
    ".jsonl": (read_jsonl, _count_lines),
    ".ndjson": (read_jsonl, _count_lines),
    ".json": (read_json, _count_unknown),
    ".csv": (read_csv, _count_table),
    ".tsv": (read_csv, _count_table),
    ".txt": (read_text_file, _count_one),
}
_PACKED = ("", ".gz", ".zst")


def _format(name: str) -> tuple[_Reader, _Counter]:
    """Choose reader and counter by how a file's name ends."""
    lower = name.lower()
    if lower.endswith(".parquet"):
        return read_parquet, count_parquet
    for ending, format_ in _TEXT.items():
        if lower.endswith(tuple(ending + packed for packed in _PACKED)):
            return format_
    kinds = ", ".join([*_TEXT, ".parquet"])
    msg = (
        f"{name} is of no kind that is read: {kinds} (all but .parquet also with .gz or .zst), "
        "a folder, - for stdin, or hf://NAME"
    )
    raise InvalidInput(msg)
