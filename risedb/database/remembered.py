"""What an index remembers of its model: the name under which it is found, and the identity it must have."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risedb.config import Identity, LoadConfig
from risedb.errors import IdentityMismatch, InvalidInput, NotFound

if TYPE_CHECKING:  # torch and transformers are imported when a model is first needed
    from risedb.featurize import LanguageModel


def load_remembered(
    model: "str | LanguageModel | None", load: LoadConfig | None, settings: Mapping[str, Any]
) -> "LanguageModel":
    """Load what was asked for, or else what the index remembers.

    Raises
    ------
    NotFound
        If the remembered model is not where it was.
    InvalidInput
        If the index was built with a model object, which has no name.
    """
    from risedb.featurize import LanguageModel, load_model

    if isinstance(model, LanguageModel):
        return model
    load = load or LoadConfig()
    if model is not None:
        return load_model(model, load)
    if settings["model"] is None:
        msg = "this index was built with a model object; give the model with model="
        raise InvalidInput(msg)
    if load.revision is None:
        load = dataclasses.replace(load, revision=settings["revision"])
    try:
        return load_model(settings["model"], load)
    except NotFound as error:
        msg = f"the index's model cannot be found: {error}. Say where it lies now with --model"
        raise NotFound(msg) from error


def lasting_name(model: "str | LanguageModel") -> str | None:
    """Return the name under which the model is found again: a folder's absolute path, or the name itself."""
    if not isinstance(model, str):
        return None
    folder = Path(model).expanduser()
    return str(folder.resolve()) if model != "demo" and folder.is_dir() else model


def require_same(identity: Identity, asked: Identity, path: Path) -> None:
    """Check that what is asked for is what the index was built with.

    Raises
    ------
    IdentityMismatch
        Naming every number that differs.
    """
    if differences := identity.differences(asked):
        msg = f"{path} was built with other numbers: {'; '.join(differences)}"
        raise IdentityMismatch(msg)
