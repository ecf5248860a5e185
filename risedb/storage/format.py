"""The FORMAT file: what the folder is, which RiseDB reads it, and what a catalog that is lost is rebuilt with."""

import json
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import lmdb

from risedb.config import LATER_CHOICES
from risedb.errors import Corrupt, InvalidInput, NotFound, UnsupportedFormat
from risedb.storage import vfs
from risedb.storage.checksum import seal_json, unseal_json

FORMAT_VERSION = 1
INDEX = "risedb"
CHECKPOINTS = "risedb-checkpoints"  # a folder of indexes; see :mod:`risedb.storage.checkpoints`
_FORMAT = "FORMAT"


def write_format(path: Path, about: Mapping[str, Any], name: str = INDEX) -> None:
    """Write the FORMAT file of a new index: a line of JSON, and a line with its crc32c.

    Parameters
    ----------
    about
        What else it says: identity, settings and store, as they stand in the catalog.
    name
        What the folder is.
    """
    whole = {
        "format": name,
        "version": FORMAT_VERSION,
        "requires": [choice for choice in LATER_CHOICES if choice in about.get("identity", ())],
        "writer": metadata.version("risedb"),
        "byte_order": sys.byteorder,
        "lmdb": ".".join(map(str, lmdb.version())),
        **about,
    }
    vfs.write_file(path / _FORMAT, seal_json(whole))


def format_name(path: Path) -> str:
    """Return what a folder is, whether or not it can be read here; raises like :func:`read_format`."""
    return str(_read(path)[1]["format"])


def read_format(path: Path, wanted: str = INDEX) -> dict[str, Any]:
    """Check that a folder is an index that can be read here, and return what FORMAT says.

    Parameters
    ----------
    path
        The folder.
    wanted
        Its format, if it should be something else than an index.

    Raises
    ------
    NotFound, InvalidInput
        If there is no such folder, or it is no index.
    UnsupportedFormat
        If it is of another format, version or byte order, or needs a feature that is not known here.
    Corrupt
        If the FORMAT file cannot be read.
    """
    sealed, about = _read(path)
    name, version, order = about["format"], about["version"], about["byte_order"]
    if name == CHECKPOINTS and wanted == INDEX:
        msg = f"{path} holds an index for each of several checkpoints; do this with each: {path / '1'} and so on"
        raise InvalidInput(msg)
    if name != wanted or version != FORMAT_VERSION:
        which = "the version that wrote it" if version == 0 else "the RiseDB that wrote it, or a newer one"
        msg = f"{path} is of format {name} version {version}; this RiseDB reads version {FORMAT_VERSION}. Use {which}"
        raise UnsupportedFormat(msg)
    if unknown := [need for need in about.get("requires", ()) if need not in tuple(LATER_CHOICES)]:
        msg = f"{path} needs {', '.join(map(str, unknown))}, which this RiseDB does not know; use a newer one"
        raise UnsupportedFormat(msg)
    if order != sys.byteorder:
        msg = f"{path} was written on a {order}-endian machine, and this one is {sys.byteorder}-endian"
        raise UnsupportedFormat(msg)
    return unseal_json(sealed, str(path / _FORMAT))


@vfs.readable()
def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of FORMAT, and what they say before its check: a version to come may have another one."""
    if not path.exists():
        msg = f"there is no index at {path}"
        raise NotFound(msg)
    if not (path / _FORMAT).is_file() and (path / "catalog" / "data.mdb").is_file():
        msg = f"{path / _FORMAT} is missing. Run risedb repair"
        raise Corrupt(msg)
    if not (path / _FORMAT).is_file():
        msg = f"{path} is not a RiseDB index: there is no FORMAT file in it"
        raise InvalidInput(msg)
    sealed = (path / _FORMAT).read_bytes()
    try:
        about: dict[str, Any] = json.loads(sealed.partition(b"\n")[0])
        _ = about["format"], about["version"], about["byte_order"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path / _FORMAT} is damaged: {error}. Run risedb repair"
        raise Corrupt(msg) from error
    return sealed, about
