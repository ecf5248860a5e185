"""Opening an index, or making one: what is asked for must be what the index was built with."""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from risedb.config import DeviceConfig, LoadConfig, ReadoutConfig, SketchConfig, StoreConfig
from risedb.corpus import Fields
from risedb.database.index import RiseDB
from risedb.database.joint import Checkpoints
from risedb.database.remembered import lasting_name, load_remembered, require_same
from risedb.errors import InvalidInput
from risedb.storage import Store, checkpoint_folders, checkpoint_weights, new_checkpoints

if TYPE_CHECKING:
    from risedb.featurize import LanguageModel


def open_index(  # noqa: PLR0913  the choices of a new index
    path: str | os.PathLike[str],
    model: "str | LanguageModel | Sequence[str | LanguageModel] | None" = None,
    *,
    create: bool = False,
    weights: Sequence[float] | None = None,
    readout: ReadoutConfig | None = None,
    sketch: SketchConfig | None = None,
    store: StoreConfig | None = None,
    fields: Fields | None = None,
    load: LoadConfig | None = None,
    batch_tokens: int | None = None,
    at: int | None = None,
    devices: str | Sequence[str] = (),
    device_cache: int | Literal["auto"] = "auto",
) -> RiseDB:
    """Open an index, or make one.

    Parameters
    ----------
    path
        The index's folder.
    model
        ``demo``, a folder, a hub id (``id@revision`` for a branch, tag or commit), or a loaded model. An index
        remembers its model; give it again only if it lies somewhere else now. A list of models, checkpoints of one
        training run, makes an index by each in one folder, and a query adds up their scores: see
        :class:`risedb.database.Checkpoints`.
    create
        Make the index if there is none; then `model` is needed.
    weights
        With several checkpoints: what each one's scores are multiplied by, 1 if not given. The index remembers those
        with which it was made; others hold for this handle.
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
    devices, device_cache
        Where queries are scanned, and how many bytes of rows stay there; see :class:`risedb.config.DeviceConfig`.

    Raises
    ------
    NotFound
        If there is no index, and `create` is not set, or no such commit.
    InvalidInput
        If the folder is not an index, a new one lacks its model, or models and weights are not as many as checkpoints.
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
    new = create and (not path.exists() or (path.is_dir() and not any(path.iterdir())))
    remembered = None if new else checkpoint_weights(path)
    scan = DeviceConfig(devices=(devices,) if isinstance(devices, str) else tuple(devices), cache=device_cache)
    how = _How(readout, sketch, store, fields, load, batch_tokens, scan)
    if isinstance(model, str) or not isinstance(model, Sequence):
        if remembered is None and weights is None:
            return _create_one(path, model, how) if new else _open_one(path, model, how, at)
        models: Sequence[str | LanguageModel | None] = [None] * len(remembered or ()) if model is None else [model]
    else:
        models = model
    if at is not None:
        msg = f"{path} holds an index for each checkpoint, and each has its own commits; open {path / '1'} with at="
        raise InvalidInput(msg)
    if new:
        remembered = _create_several(path, models, weights, how)
    if remembered is None:
        msg = f"{path} is an index by one model, and cannot become one of several checkpoints; choose another folder"
        raise InvalidInput(msg)
    if len(models) != len(remembered):
        msg = f"{path} has {len(remembered)} checkpoints; give as many models, in their order, or none"
        raise InvalidInput(msg)
    folders = checkpoint_folders(path, len(remembered))
    children = [_open_one(folder, one, how, None) for folder, one in zip(folders, models, strict=True)]
    return Checkpoints(path, children, _checked(weights or remembered, len(remembered)))


@dataclasses.dataclass(frozen=True, slots=True)
class _How:
    """The arguments of :func:`open_index` that hold for each index."""

    readout: ReadoutConfig | None
    sketch: SketchConfig | None
    store: StoreConfig | None
    fields: Fields | None
    load: LoadConfig | None
    batch_tokens: int | None
    devices: DeviceConfig


def _open_one(path: Path, model: "str | LanguageModel | None", how: _How, at: int | None) -> RiseDB:
    index = RiseDB(Store(path, at), model=model, load=how.load, batch_tokens=how.batch_tokens, devices=how.devices)
    identity = index.identity
    asked = dataclasses.replace(identity, readout=how.readout or identity.readout, sketch=how.sketch or identity.sketch)
    empty = "" if index._store.snapshot().commit.number else " (and is empty: remove it to begin anew)"
    require_same(identity, asked, f"{path} was built with other numbers{empty}")
    return index


def _create_one(path: Path, model: "str | LanguageModel | None", how: _How) -> RiseDB:
    if model is None:
        msg = f"{path} does not exist yet; a new index needs a model, by name, folder or hub id"
        raise InvalidInput(msg)
    from risedb.featurize import Featurizer

    featurizer = Featurizer(
        load_remembered(model, how.load, {}),
        how.readout or ReadoutConfig(),
        how.sketch or SketchConfig(),
        batch_tokens=how.batch_tokens,
    )
    settings = {
        "model": lasting_name(model),
        "revision": how.load.revision if how.load else None,
        "fields": (how.fields or Fields()).as_dict(),
    }
    created = Store.create(path, featurizer.identity, settings, how.store or StoreConfig())
    return RiseDB(created, model=featurizer.model, load=how.load, batch_tokens=how.batch_tokens, devices=how.devices)


def _create_several(
    path: Path, models: "Sequence[str | LanguageModel | None]", weights: Sequence[float] | None, how: _How
) -> list[float]:
    if len(models) < 2:
        msg = f"{path} does not exist yet; a new index by several checkpoints needs two models or more"
        raise InvalidInput(msg)
    checked = _checked(weights or [1.0] * len(models), len(models))
    with new_checkpoints(path, checked) as folders:
        for folder, one in zip(folders, models, strict=True):  # one model is in memory at a time
            _create_one(folder, one, how).close()
    return checked


def _checked(weights: Sequence[float], count: int) -> list[float]:
    sound = all(map(math.isfinite, weights)) and any(weights)
    if len(weights) != count or not sound:
        msg = f"the checkpoints' weights are {list(weights)}; they must be {count} numbers, not all of them 0"
        raise InvalidInput(msg)
    return [float(weight) for weight in weights]
