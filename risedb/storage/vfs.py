"""Every change to the disk outside LMDB goes through these functions; each is durable when it returns.

A full disk and a read-only one get RiseDB's own errors here, once for all callers.
"""

import contextlib
import errno
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from risedb.errors import DiskFailure, OutOfSpace, ReadOnly, RiseDBError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_WRITING = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a full or read-only disk into RiseDB's errors.

    Raises
    ------
    OutOfSpace, ReadOnly, DiskFailure
        Naming `path`.
    """
    try:
        yield
    except RiseDBError:
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise OutOfSpace(error.errno, f"no space left to write {path}; nothing committed is lost") from error
        if error.errno in _NO_WRITING:
            raise ReadOnly(error.errno, f"{path} cannot be written ({error.strerror})") from error
        raise DiskFailure(error.errno, f"{path}: {error.strerror}") from error


def write_file(path: Path, data: bytes) -> None:
    """Create a file with these bytes and fsync it; its folder is not yet synced."""
    with disk_errors(path), path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Create a folder, its parents too, if it is not there."""
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Make the names in a folder and in all folders below it durable."""
    for folder, _, _ in os.walk(path):
        sync_folder(Path(folder))


def rename(source: Path, target: Path) -> None:
    """Move a file or folder in one step and make both parents durable."""
    with disk_errors(target):
        source.rename(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def remove_tree(path: Path) -> None:
    """Remove a folder that no commit names."""
    with disk_errors(path):
        shutil.rmtree(path, ignore_errors=False)


def map_file(path: Path) -> mmap.mmap:
    """Map a file that is not empty, read-only."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
