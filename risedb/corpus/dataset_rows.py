"""Rows of Hugging Face datasets, from a folder or the hub; the library is an optional extra."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from risedb.corpus.row import BadRow, Row, at_least_one
from risedb.corpus.table_rows import plain_row
from risedb.errors import InvalidInput, NotFound


def read_dataset(
    name_or_folder: str | os.PathLike[str], split: str = "train", *, streaming: bool = True
) -> Iterator[Row | BadRow]:
    """Read one split of a dataset: a folder that ``save_to_disk`` wrote, or a name on the hub.

    Parameters
    ----------
    name_or_folder
        A folder, if there is one of that name.
    split
        Which; a folder may also hold one dataset without splits.
    streaming
        Read from the hub as rows are asked for, instead of fetching the whole split first.

    Returns
    -------
    Iterator[Row | BadRow]
        In the dataset's order, with places from 1: ``name[train]:17``. Dates, decimals and bytes
        are strings, NaN is null.

    Raises
    ------
    NotFound
        If the dataset is neither a folder nor to be had from the hub.
    InvalidInput
        If the library is not installed, the folder is no dataset, or there is no such split; while
        reading, if there are no rows.
    """
    name = os.fspath(name_or_folder)
    if os.path.isdir(name):
        rows, place = load_folder(name, split)
    else:
        place = f"{name}[{split}]"
        with _one_error(place):
            rows = _library().load_dataset(name, split=split, streaming=streaming)
    return at_least_one(_rows(rows, place), f"{place} holds no rows")


def load_folder(folder: str, split: str) -> tuple[Any, str]:
    """Open a folder written by ``save_to_disk``.

    Returns
    -------
    dataset, place
        A ``datasets.Dataset``, and ``folder[split]``, or ``folder`` if it holds no splits.

    Raises
    ------
    NotFound
        If it is no such folder.
    InvalidInput
        If it is damaged or empty, or lacks the split.
    """
    library = _library()
    with _one_error(folder):
        try:
            loaded = library.load_from_disk(folder)
        except IndexError:  # in the library, when it loads a dataset that was saved without a row
            msg = f"{folder} holds no rows"
            raise InvalidInput(msg) from None
    if not isinstance(loaded, library.DatasetDict):
        return loaded, folder
    if split not in loaded:
        splits = ", ".join(loaded)
        msg = f"{folder} has no split {split!r}; it has {splits}. Name one: hf://{folder}:SPLIT"
        raise InvalidInput(msg)
    return loaded[split], f"{folder}[{split}]"


def _rows(dataset: Iterable[dict[str, Any]], place: str) -> Iterator[Row | BadRow]:
    with _one_error(place):
        for number, values in enumerate(dataset, 1):
            yield plain_row(f"{place}:{number}", values)


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError:
        msg = "the datasets library is not installed: pip install 'risedb[datasets]'"
        raise InvalidInput(msg) from None
    library: ModuleType = datasets
    return library


@contextmanager
def _one_error(what: str) -> Iterator[None]:
    """Turn what the library, Arrow and the network raise into one line that names the dataset."""
    try:
        yield
    except InvalidInput:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # no network is an OSError
        line = next(iter(str(error).splitlines()), type(error).__name__)
        msg = f"{what} cannot be read: {line}"
        kind = NotFound if isinstance(error, OSError) else InvalidInput
        raise kind(msg) from error
