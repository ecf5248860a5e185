"""Files that a caller asks for, beside an index: there whole, or not at all."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from risedb.errors import InvalidInput, OutOfSpace, RiseDBError
from risedb.storage.vfs import NO_SPACE


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, beside `path`: what is there at the end takes its place; if anything fails, it is gone.

    Raises
    ------
    InvalidInput, OutOfSpace
        As of :func:`file_errors`.
    """
    part = path.absolute().with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with file_errors(path):
        try:
            yield part
            part.replace(path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file that is written into one line.

    Raises
    ------
    OutOfSpace
        If the disk is full.
    InvalidInput
        If it cannot be written for another reason.
    """
    try:
        yield
    except (RiseDBError, BrokenPipeError):
        raise
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        if error.errno in NO_SPACE:
            raise OutOfSpace(error.errno, msg) from error
        raise InvalidInput(msg) from error
