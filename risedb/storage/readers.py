"""Which segments are still being read: a reader holds a lock that says since when.

Each compaction that takes segments out of the index begins a new *generation*. A reader holds a shared flock(2) on
``readers/<generation>`` for as long as it keeps a snapshot of that generation; what a compaction took out is unlinked
once nobody holds an older one. The operating system lets go of a dead reader's locks.
"""

import fcntl
import os
from pathlib import Path

from risedb.storage import vfs


class ReaderLease:
    """Keeps the segments of one generation on the disk, until it is garbage.

    Parameters
    ----------
    path
        The index's folder.
    generation
        Of the snapshot. Check afterwards that it is still the newest: only then nothing was unlinked meanwhile.

    Raises
    ------
    FileNotFoundError
        If the generation is over.
    """

    def __init__(self, path: Path, generation: int) -> None:
        self.generation = generation
        self._descriptor = -1
        self._descriptor = os.open(_file(path, generation), os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def begin_generation(path: Path, generation: int) -> None:
    """Create the file that readers of a generation will lock, durable on return."""
    if not _file(path, generation).exists():
        vfs.write_file(_file(path, generation), b"")
        vfs.sync_folder(path / "readers")


def is_read(path: Path, generation: int) -> bool:
    """Tell whether anyone still holds a snapshot older than `generation`; forget generations that nobody holds."""
    for file in (path / "readers").iterdir():
        if not file.name.isdigit() or int(file.name) >= generation:
            continue
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            vfs.clear(file)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def _file(path: Path, generation: int) -> Path:
    return path / "readers" / f"{generation:06d}"
