"""A folder of several indexes: the same documents by several checkpoints of a model, one index each.

FORMAT.md says what lies where. Each index inside is whole, and knows nothing of the others.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from risedb.storage import vfs
from risedb.storage.format import CHECKPOINTS, format_name, read_format, write_format
from risedb.storage.medium import refuse_network
from risedb.storage.store import new_folder


def checkpoint_weights(path: Path) -> list[float] | None:
    """Return the weights that a folder of several indexes gives them; None for anything else, an index among them.

    Raises
    ------
    NotFound, InvalidInput, UnsupportedFormat, Corrupt
        If it is neither; see :func:`risedb.storage.format.read_format`.
    """
    if format_name(path) != CHECKPOINTS:
        return None
    weights: list[float] = read_format(path, CHECKPOINTS)["weights"]
    return weights


def checkpoint_folders(path: Path, count: int) -> list[Path]:
    """Return the folders of the indexes, in the order of the checkpoints."""
    return [path / str(number) for number in range(1, count + 1)]


@contextlib.contextmanager
def new_checkpoints(path: Path, weights: Sequence[float]) -> Iterator[list[Path]]:
    """Give folders to make one index in for each weight; all of it appears at `path` at the end, whole or not at all.

    Raises
    ------
    AlreadyExists
        If something is there.
    InvalidInput
        If it is on a network file system.
    """
    refuse_network(path)
    vfs.make_folder(path.absolute().parent, durable=True)
    with new_folder(path) as new:
        vfs.make_folder(new)
        yield checkpoint_folders(new, len(weights))
        write_format(new, {"weights": list(weights)}, CHECKPOINTS)
