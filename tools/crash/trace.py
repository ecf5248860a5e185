"""What strace wrote down: the calls of one writer that changed the disk, in their order, with all their bytes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.crash.process import CHANGING

# Everything is printed: whole buffers in hexadecimal, the path beside each descriptor.
OPTIONS = ["-y", "-xx", "-s", "100000000", "-e", f"trace={','.join(CHANGING)},lseek"]
_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\w+)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")
_UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that succeeded.

    Parameters
    ----------
    name
        As strace names it.
    nth
        How many of this name the thread had made with it, failed ones too: what ``when=`` counts.
    arguments
        As strace prints them.
    result
        What it returned.
    by_writer
        Whether the writer's own thread made it, and not the one in which LMDB copies itself: only the writer's calls
        can be chosen by their number, since strace counts each thread's.
    """

    name: str
    nth: int
    arguments: str
    result: int
    by_writer: bool

    @property
    def descriptor(self) -> int:
        """The descriptor that is the first argument."""
        return int(self.arguments.partition("<")[0])

    @property
    def file(self) -> str:
        """The path of the descriptor that is the first argument, or what it is instead of a file."""
        return _text(self.arguments.partition("<")[2].partition(">")[0])

    @property
    def strings(self) -> list[bytes]:
        """The strings among the arguments: paths, or what is written."""
        return [_bytes(one) for one in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', self.arguments)]

    @property
    def paths(self) -> list[str]:
        """The paths among the arguments, absolute."""
        folders = [_text(one) for one in re.findall(r"<([^>]*)>", self.arguments)]
        texts = [one.decode() for one in self.strings]
        if len(folders) != len(texts):
            return texts
        return [str(Path(folder, text)) for folder, text in zip(folders, texts, strict=True)]

    @property
    def changes(self) -> bool:
        """Whether it can change the disk: opening a file to read it does not."""
        return self.name != "lseek" and (self.name != "openat" or "O_CREAT" in self.arguments)


def read(log: Path) -> list[Call]:
    """Read a log that strace wrote with ``-f -o`` and :data:`OPTIONS`."""
    made: dict[tuple[str, str], int] = {}
    calls: list[Call] = []
    writer = ""
    for line in _lines(log):
        found = _CALL.match(line)
        if found is None:
            continue  # signals and exits
        writer = writer or found["thread"]
        key = found["thread"], found["name"]
        made[key] = made.get(key, 0) + 1
        if found["result"].startswith("-"):
            continue
        result = int(found["result"], 0)
        calls.append(Call(found["name"], made[key], found["arguments"], result, found["thread"] == writer))
    return calls


def _lines(log: Path) -> Iterator[str]:
    """Yield whole calls: strace splits one in two where another thread comes between."""
    begun: dict[str, str] = {}
    for line in log.read_text().splitlines():
        if line.endswith(_UNFINISHED):
            begun[line.split()[0]] = line.removesuffix(_UNFINISHED)
        elif resumed := _RESUMED.match(line):
            yield begun.pop(resumed["thread"]) + resumed["rest"]
        else:
            yield line


def _text(quoted: str) -> str:
    return _bytes(quoted).decode() if quoted.startswith("\\x") else quoted


def _bytes(quoted: str) -> bytes:
    return bytes.fromhex(quoted.replace("\\x", ""))
