"""Processes that may die: forked from one that has imported everything and opened nothing, watched by strace."""

import ctypes
import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Every system call that changes a disk, as strace names them.
CHANGING = (
    "openat", "write", "pwrite64", "pwritev", "pwritev2", "writev", "fsync", "fdatasync", "sync_file_range", "msync",
    "rename", "renameat", "renameat2", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink",
    "truncate", "ftruncate", "fallocate", "copy_file_range", "sendfile",
)  # fmt: skip

# A kill takes nothing from the page cache, so an index that is killed needs no disk, whose fsyncs are what takes time.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Parameters
    ----------
    signal
        That killed it, or 0.
    status
        With which it exited otherwise.
    told
        What it wrote to its pipe, in the order of writing: one bytes object a line.
    seconds
        How long it ran.
    """

    signal: int
    status: int
    told: list[bytes]
    seconds: float


def why_not() -> str | None:
    """Say why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "strace is missing (apt-get install strace)"
    try:
        ended = run(lambda _: None, ["-e", "trace=none"])
    except OSError as error:
        return f"strace may not trace here (ptrace is not permitted): {error}"
    return None if ended.status == 0 else "a traced process does not run here"


def run(
    body: Callable[[Callable[[bytes], None]], None], strace: Sequence[str] = (), kill_after_seconds: float = 0
) -> Ended:
    """Fork, run `body` in the child, and wait for its end.

    Parameters
    ----------
    body
        Gets a function that writes a line to the parent at once.
    strace
        Options with which strace watches the child, from before `body` begins; none: it is not watched.
    kill_after_seconds
        If not 0, the child is killed so long after it began.

    Raises
    ------
    OSError
        If strace cannot watch it.
    """
    told, tell = os.pipe()
    wait, begin = os.pipe()
    child = os.fork()
    if child == 0:
        _be_a_child(body, wait, begin, tell)
    os.close(tell)
    os.close(wait)
    watcher = _watch(child, strace) if strace else None
    begun = time.monotonic()
    os.close(begin)
    if kill_after_seconds:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, kill_after_seconds)
    with os.fdopen(told, "rb") as pipe:
        lines = pipe.read().splitlines()
    seconds = time.monotonic() - begun
    signal.setitimer(signal.ITIMER_REAL, 0)
    _, status = os.waitpid(child, 0)
    if watcher is not None:
        watcher.communicate()
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Ended(number, os.waitstatus_to_exitcode(status), lines, seconds)


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """Return what a function returns in a child, or, if that dies, a list of one line that says how."""

    def body(tell: Callable[[bytes], None]) -> None:
        tell(pickle.dumps(function(*arguments)).hex().encode())

    ended = run(body)
    if ended.status or len(ended.told) != 1:
        return [f"the process that looked ended by signal {ended.signal}, status {ended.status}: {ended.told}"]
    return pickle.loads(bytes.fromhex(ended.told[0].decode()))


def _be_a_child(body: Callable[[Callable[[bytes], None]], None], wait: int, begin: int, tell: int) -> None:
    status = 1
    try:
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # let strace, no ancestor, watch (Yama)
        os.close(begin)
        os.read(wait, 1)
        body(lambda line: _tell(tell, line))
        status = 0
    except BaseException as error:  # noqa: BLE001  told to the parent
        _tell(tell, f"! {type(error).__name__}: {error}".replace("\n", " ").encode())
    finally:
        os._exit(status)


def _tell(descriptor: int, line: bytes) -> None:
    rest = line + b"\n"
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _watch(child: int, options: Sequence[str]) -> subprocess.Popen[str]:
    watcher = subprocess.Popen(
        ["strace", "-f", "-p", str(child), *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    said = watcher.stderr.readline() if watcher.stderr else ""
    if "attached" not in said:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        watcher.communicate()
        raise OSError(said.strip() or "strace ended at once")
    return watcher


def inject(name: str, what: str, at: int, log: Path = Path(os.devnull)) -> list[str]:
    """Return strace's options to do `what` (``signal=SIGKILL``, ``error=EIO``) at the nth call of a name, from 1."""
    return ["-o", str(log), "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={at}"]
