"""What an index remembers of its model: the name under which it is found, and the identity it must have."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risedb.config import Identity, LoadConfig
from risedb.errors import IdentityMismatch, InvalidInput, NotFound

if TYPE_CHECKING:  # torch and transformers are imported when a model is first needed
    from risedb.featurize import Featurizer, LanguageModel


@dataclasses.dataclass(frozen=True, slots=True)
class Remembered:
    """What an index keeps of its model, apart from the store: another process may load by it."""

    path: Path
    identity: Identity
    settings: Mapping[str, Any]


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


def load_featurizer(
    model: "str | LanguageModel | None",
    index: Remembered,
    batch_tokens: int | None,
    load: LoadConfig | None,
) -> "Featurizer":
    """Load the model that signs for an index.

    Raises
    ------
    NotFound, InvalidInput
        As for :func:`load_remembered`.
    IdentityMismatch
        If it is another model or tokenizer than the index was built with.
    """
    from risedb.featurize import Featurizer

    identity = index.identity
    loaded = load_remembered(model, load, index.settings)
    featurizer = Featurizer(loaded, identity.readout, identity.sketch, batch_tokens=batch_tokens)
    built_with = index.settings["model"] or "another model"
    require_same(identity, featurizer.identity, f"{index.path} was built with {built_with}")
    return featurizer


def lasting_name(model: "str | LanguageModel") -> str | None:
    """Return the name under which the model is found again: a folder's absolute path, or the name itself."""
    if not isinstance(model, str):
        return None
    folder = Path(model).expanduser()
    return str(folder.resolve()) if model != "demo" and folder.is_dir() else model


def is_remembered(model: "str | LanguageModel", load: LoadConfig | None, settings: Mapping[str, Any]) -> bool:
    """Tell whether a model is asked for by the name that the index remembers."""
    revision = load.revision if load else None
    return (
        lasting_name(model) is not None
        and lasting_name(model) == settings["model"]
        and revision in {None, settings["revision"]}
    )


def require_same(identity: Identity, asked: Identity, what: str) -> None:
    """Check that what is asked for is what the index was built with, which `what` tells in words.

    Raises
    ------
    IdentityMismatch
        Naming every number that differs.
    """
    if differences := identity.differences(asked):
        msg = f"{what}: {'; '.join(differences)}"
        raise IdentityMismatch(msg)
