"""Opening an index, or making one: what is asked for must be what the index was built with."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from risedb.config import LoadConfig, ReadoutConfig, SketchConfig, StoreConfig
from risedb.corpus import Fields
from risedb.database.index import RiseDB
from risedb.database.remembered import lasting_name, load_remembered, require_same
from risedb.errors import InvalidInput
from risedb.storage import Store

if TYPE_CHECKING:
    from risedb.featurize import LanguageModel


def open_index(  # noqa: PLR0913  the choices of a new index
    path: str | os.PathLike[str],
    model: "str | LanguageModel | None" = None,
    *,
    create: bool = False,
    readout: ReadoutConfig | None = None,
    sketch: SketchConfig | None = None,
    store: StoreConfig | None = None,
    fields: Fields | None = None,
    load: LoadConfig | None = None,
    batch_tokens: int | None = None,
    at: int | None = None,
) -> RiseDB:
    """Open an index, or make one.

    Parameters
    ----------
    path
        The index's folder.
    model
        ``demo``, a folder, a hub id, or a loaded model. An index remembers its model; give it again only if it lies
        somewhere else now.
    create
        Make the index if there is none; then `model` is needed.
    readout, sketch
        The numbers of a new index; for an existing one they must be its own.
    store, fields
        Layout on disk of a new index, and what the fields of its rows mean.
    load
        Precision, device and the like.
    batch_tokens
        Most tokens in one forward pass.
    at
        Read the index as it was after this commit (see :meth:`RiseDB.commits`), as long as no compaction has passed it.

    Raises
    ------
    NotFound
        If there is no index, and `create` is not set, or no such commit.
    InvalidInput
        If the folder is not an index, or a new one lacks its model.
    IdentityMismatch
        If `readout` or `sketch` are not the index's.
    UnsupportedFormat, Corrupt
        If the folder is an index that cannot be read.

    Examples
    --------
    >>> import risedb
    >>> risedb.open("nowhere.rise")
    Traceback (most recent call last):
    ...
    risedb.errors.NotFound: there is no index at nowhere.rise
    """
    path = Path(path)
    if create and (not path.exists() or (path.is_dir() and not any(path.iterdir()))):
        if model is None:
            msg = f"{path} does not exist yet; a new index needs a model, by name, folder or hub id"
            raise InvalidInput(msg)
        from risedb.featurize import Featurizer

        featurizer = Featurizer(
            load_remembered(model, load, {}),
            readout or ReadoutConfig(),
            sketch or SketchConfig(),
            batch_tokens=batch_tokens,
        )
        settings = {
            "model": lasting_name(model),
            "revision": load.revision if load else None,
            "fields": dataclasses.asdict(fields or Fields()),
        }
        created = Store.create(path, featurizer.identity, settings, store or StoreConfig())
        return RiseDB(created, model=featurizer.model, load=load, batch_tokens=batch_tokens)
    index = RiseDB(Store(path, at), model=model, load=load, batch_tokens=batch_tokens)
    identity = index.identity
    asked = dataclasses.replace(identity, readout=readout or identity.readout, sketch=sketch or identity.sketch)
    require_same(identity, asked, path)
    return index
