"""The writer's lock: one process writes an index. The operating system releases it when its holder dies."""

import fcntl
import json
import os
import socket
from pathlib import Path

from risedb.errors import Busy
from risedb.storage.vfs import disk_errors


class WriterLock:
    """Holds ``writer.lock`` from construction to :meth:`release`.

    Raises
    ------
    Busy
        If another holder has it, naming process and host.
    """

    def __init__(self, path: Path) -> None:
        with disk_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 4096, 0)
            os.close(self._descriptor)
            msg = f"{path.parent} is being written by {_name(holder)}; wait for it or stop it"
            raise Busy(msg) from error
        with disk_errors(path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(
                self._descriptor,
                json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(),
                0,
            )

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._descriptor)


def _name(holder: bytes) -> str:
    try:
        fields = json.loads(holder)
        return f"process {fields['pid']} on {fields['host']}"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not yet written its name
        return "another process"
