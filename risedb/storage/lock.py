"""The writer's lock: one process writes an index. The operating system releases it when its holder dies."""

import fcntl
import json
import os
import socket
import weakref
from pathlib import Path

from risedb.errors import Busy
from risedb.storage import vfs


class WriterLock:
    """Holds ``writer.lock`` from construction to :meth:`release`; a fork's child does not hold it.

    Raises
    ------
    Busy
        If another holder has it, naming process and host.
    """

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self._descriptor = -1
        self._descriptor = vfs.open_file(path)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 4096, 0)
            self.release()
            msg = f"{path.parent} is being written by {_name(holder)}; wait for it or stop it"
            raise Busy(msg) from error
        _held.add(self)
        about = {"pid": self.process, "host": socket.gethostname()}
        vfs.rewrite(self._descriptor, path, json.dumps(about).encode())

    def release(self) -> None:
        """Let the next writer in."""
        _held.discard(self)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()


_held: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


def _let_go_in_child() -> None:
    """Close the copies that a fork made: else a child would keep the lock of a parent that died."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_child)


def _name(holder: bytes) -> str:
    try:
        fields = json.loads(holder)
        return f"process {fields['pid']} on {fields['host']}"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not yet written its name
        return "another process"
