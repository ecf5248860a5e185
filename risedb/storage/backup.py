"""A consistent copy of an index that others may be writing meanwhile."""

import contextlib
import errno
import os
from pathlib import Path

from risedb.errors import Busy, DiskFailure
from risedb.storage import tombstones, vfs
from risedb.storage.catalog import Catalog
from risedb.storage.readers import begin_generation
from risedb.storage.snapshot import Commit, segment_names
from risedb.storage.store import Store, new_folder
from risedb.storage.writer import FOLDERS

_TRIES = 10


def backup(path: Path, target: Path) -> Commit:
    """Copy an index as of its newest commit, and return that commit; the copy appears whole or not at all.

    Parameters
    ----------
    path
        The index; it may be written meanwhile.
    target
        A folder that does not exist or is empty.

    Raises
    ------
    AlreadyExists
        If something is in `target`'s place.
    Busy
        If the index changed at every one of several tries.
    Corrupt, NotFound, InvalidInput, UnsupportedFormat
        If it cannot be read.
    OutOfSpace, DiskFailure
        If the disk does not take the copy.
    """
    with contextlib.closing(Store(path)) as store, new_folder(target) as new:
        for folder in FOLDERS:
            vfs.make_folder(new / folder)
        vfs.copy_file(path / "FORMAT", new / "FORMAT")
        for _ in range(_TRIES):
            store.refresh()  # its lease keeps the segments of this generation
            store.copy_catalog(new / "catalog")
            if _copy_files(path, new, store.snapshot().lease.generation):
                with contextlib.closing(Store(new)) as copy:
                    return copy.snapshot().commit
    msg = f"{path} was compacted again and again while it was copied; try when its writer does less"
    raise Busy(msg)


def _copy_files(path: Path, new: Path, generation: int) -> bool:
    """Copy what the copied catalog names; False if it is of another generation, or a file went meanwhile."""
    with contextlib.closing(Catalog(new / "catalog")) as catalog, catalog.read() as transaction:
        segments, deletions = segment_names(transaction), tombstones.file_names(transaction)
        same = transaction.number(b"generation") == generation
    begin_generation(new, generation)
    try:
        for name in segments:
            _copy_tree(path / "segments" / name, new / "segments" / name)
        for name in deletions:
            vfs.copy_file(path / "deletions" / name, new / "deletions" / name)
    except DiskFailure as error:  # a file of deletions that a newer one has replaced
        if error.errno != errno.ENOENT:
            raise
        same = False
    if not same:
        for folder in FOLDERS:
            vfs.remove_tree(new / folder)
            vfs.make_folder(new / folder)
    return same


def _copy_tree(source: Path, target: Path) -> None:
    for folder, _, files in os.walk(source):
        place = target / Path(folder).relative_to(source)
        vfs.make_folder(place)
        for name in files:
            vfs.copy_file(Path(folder) / name, place / name)
