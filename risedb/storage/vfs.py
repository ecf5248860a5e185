"""Every change to the disk outside LMDB goes through these functions, and they through the few calls of :class:`Disk`.

What a function makes durable, its docstring says; a removal is never waited for, since one that a power cut undoes
leaves only what the next writer clears. A short write is gone on with, an interrupted call is made again. A full disk
and a read-only one get RiseDB's own errors here, once for all callers. A failed fsync is
:class:`~risedb.errors.SyncFailed`, after which the writer must stop: the system may have dropped what it could not
write, and the next fsync of the same file would say that all is well.
"""

import contextlib
import errno
import logging
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from risedb.errors import DiskFailure, InvalidInput, OutOfSpace, ReadOnly, RiseDBError, SyncFailed

_log = logging.getLogger(__name__)
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_WRITING = {errno.EROFS, errno.EACCES, errno.EPERM}
_COPY_BYTES = 2**20

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Disk:
    """The system calls themselves; a test puts one that fails, tears or records in the place of :data:`disk`."""

    def create(self, path: Path, flags: int = os.O_WRONLY | os.O_EXCL) -> int:
        """Create a file and return its descriptor."""
        return os.open(path, os.O_CREAT | os.O_CLOEXEC | flags, 0o666)

    def open_file(self, path: Path) -> int:
        """Return a descriptor by which a file's bytes are synced."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_folder(self, path: Path) -> int:
        """Return a descriptor by which a folder's names are synced."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write at the file's position; return how many bytes were taken."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int) -> None:
        """Empty a file; the next write is at its start."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)

    def sync(self, descriptor: int) -> None:
        """Make a file's bytes, or a folder's names, durable."""
        os.fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file or folder in one step."""
        os.rename(source, target)

    def make_folder(self, path: Path) -> None:
        """Create a folder in one that is there."""
        os.mkdir(path)

    def remove_file(self, path: Path) -> None:
        """Remove a file's name."""
        os.unlink(path)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    def map(self, path: Path) -> mmap.mmap:
        """Map a whole file, read-only."""
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


disk = Disk()


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
        if error.errno in NO_SPACE:
            raise OutOfSpace(error.errno, f"no space left to write {path}; nothing committed is lost") from error
        if error.errno in _NO_WRITING:
            raise ReadOnly(error.errno, f"{path} cannot be written ({error.strerror})") from error
        raise DiskFailure(error.errno, f"{path}: {error.strerror}") from error


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Turn what the operating system says of a file that this user may not read into RiseDB's error.

    Raises
    ------
    InvalidInput
        Naming the file.
    """
    try:
        yield
    except RiseDBError:
        raise
    except PermissionError as error:
        msg = f"{error.filename} cannot be read: {error.strerror}"
        raise InvalidInput(msg) from error


def write_file(path: Path, data: bytes) -> None:
    """Create a file with these bytes, which are durable on return; its name is not yet."""
    with _new_file(path) as descriptor:
        _write(descriptor, data)


def copy_file(source: Path, target: Path) -> None:
    """Create a copy of a file, which is durable on return; its name is not yet."""
    with _new_file(target) as descriptor, source.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            _write(descriptor, block)


def open_file(path: Path) -> int:
    """Return a descriptor to read and :func:`rewrite` a file by, created if it is not there."""
    with disk_errors(path):
        return _done(disk.create, path, os.O_RDWR)


def rewrite(descriptor: int, path: Path, data: bytes) -> None:
    """Put these bytes in the place of a file's; neither at once nor durable, so nothing may depend on them."""
    with disk_errors(path):
        _done(disk.truncate, descriptor)
        _write(descriptor, data)


def make_folder(path: Path, *, durable: bool = False) -> None:
    """Create a folder, its parents too, if it is not there; `durable` syncs each name that is made."""
    with disk_errors(path):
        try:
            _done(disk.make_folder, path)
        except FileNotFoundError:
            make_folder(path.parent, durable=durable)
            make_folder(path, durable=durable)
        except FileExistsError:
            if not path.is_dir():
                raise
        else:
            if durable:
                sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable that others wrote: LMDB does not sync a copy of itself."""
    _sync_at(path, disk.open_file)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync_at(path, disk.open_folder)


def sync_tree(path: Path) -> None:
    """Make the names in a folder and in all folders below it durable."""
    for folder, _, _ in os.walk(path):
        sync_folder(Path(folder))


def rename(source: Path, target: Path) -> None:
    """Move a file or folder in one step, which is durable on return."""
    with disk_errors(target):
        _done(disk.rename, source, target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def remove_file(path: Path) -> None:
    """Remove a file that no commit names, if it is there."""
    with disk_errors(path), contextlib.suppress(FileNotFoundError):
        _done(disk.remove_file, path)


def remove_tree(path: Path) -> None:
    """Remove a file, or a folder and all in it, that no commit names; a link is removed, not followed."""
    with disk_errors(path):
        if not path.is_dir() or path.is_symlink():
            remove_file(path)
            return
        for entry in list(path.iterdir()):
            remove_tree(entry)
        _done(disk.remove_folder, path)


def clear(path: Path) -> bool:
    """Remove what no commit names, if that can be done: if not, only its space is missing, until the next writer."""
    try:
        remove_tree(path)
    except (DiskFailure, ReadOnly) as error:
        _log.warning("left for the next writer: %s", error)
        return False
    return True


def map_file(path: Path) -> mmap.mmap:
    """Map a file that is not empty, read-only."""
    return _done(disk.map, path)


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """Create a file to write in and sync it at the end."""
    with disk_errors(path):
        descriptor = _done(disk.create, path)
        try:
            yield descriptor
            _sync(descriptor, path)
        finally:
            os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        taken = _done(disk.write, descriptor, rest)
        if taken == 0:
            raise OSError(errno.EIO, "the disk takes no more and does not say why")
        rest = rest[taken:]


def _sync_at(path: Path, opened: Callable[[Path], int]) -> None:
    with disk_errors(path):
        descriptor = _done(opened, path)
        try:
            _sync(descriptor, path)
        finally:
            os.close(descriptor)


def _sync(descriptor: int, path: Path) -> None:
    try:
        _done(disk.sync, descriptor)
    except OSError as error:
        msg = f"{path} could not be made durable ({error.strerror}); nothing committed is lost. Look at the disk"
        raise SyncFailed(error.errno, msg) from error


def _done(call: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
    """Make a call, again if a signal interrupts it."""
    while True:
        try:
            return call(*arguments, **options)
        except InterruptedError:
            continue
