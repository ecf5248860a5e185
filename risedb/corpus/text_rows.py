"""Rows of plain text: each file is one."""

import os
from collections.abc import Iterator
from pathlib import Path

from risedb.corpus.file_bytes import existing_file, open_bytes
from risedb.corpus.row import BadRow, Row, at_least_one, checked_row
from risedb.errors import InvalidInput, NotFound


def read_text_folder(folder: str | os.PathLike[str]) -> Iterator[Row | BadRow]:
    """Read every ``.txt`` file in a folder and those below it; links to folders are not followed.

    Returns
    -------
    Iterator[Row | BadRow]
        Rows ``{"id": "sub/name.txt", "text": …}``, sorted by id. Line ends stay as they are.

    Raises
    ------
    NotFound
        At once, if the folder does not exist.
    InvalidInput
        At once, if it is a file; while reading, if it holds no such file.
    """
    name = os.fspath(folder)
    if not os.path.exists(name):
        msg = f"{name} does not exist"
        raise NotFound(msg)
    if not os.path.isdir(name):
        msg = f"{name} is a file, not a folder"
        raise InvalidInput(msg)
    return at_least_one(_folder_rows(name), f"{name} holds no .txt files")


def read_text_file(path: str | os.PathLike[str]) -> Iterator[Row | BadRow]:
    """Read one ``.txt`` file, ``.gz`` and ``.zst`` too, as one row, whose id is the file's name.

    Raises
    ------
    NotFound
        At once, if the file does not exist.
    """
    name = existing_file(path)
    return map(_file_row, [name], [os.path.basename(name)])  # lazily: there may be many such files


def text_files(folder: str) -> list[str]:
    """Return the ``.txt`` files below a folder, by their sorted paths from there.

    Raises
    ------
    InvalidInput
        If a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        msg = f"{error.filename} cannot be listed: {error.strerror}"
        raise InvalidInput(msg) from error

    return sorted(
        Path(parent, file).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder, onerror=refuse)
        for file in files
        if file.lower().endswith(".txt")
    )


def _folder_rows(folder: str) -> Iterator[Row | BadRow]:
    for identity in text_files(folder):
        yield _file_row(os.path.join(folder, identity), identity)


def _file_row(name: str, identity: str) -> Row | BadRow:
    if not os.path.isfile(name):  # a pipe would never end; a link may lead nowhere
        return BadRow(name, "not a file that can be read")
    try:
        with open_bytes(name) as stream:
            text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        return BadRow(name, f"not UTF-8: {found}")
    except InvalidInput as error:
        return BadRow(name, str(error).removeprefix(f"{name} "))
    return checked_row(name, {"id": identity, "text": text})
