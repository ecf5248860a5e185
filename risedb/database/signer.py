"""The model that signs for an index: loaded when it is first needed, on one device or several."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from risedb.config import LoadConfig
from risedb.database.remembered import Remembered, is_remembered, load_featurizer

if TYPE_CHECKING:  # torch and transformers are imported when a model is first needed
    from risedb.database.devices import Devices, OneModel
    from risedb.featurize import Featurizer, LanguageModel


class Signer:
    """What was asked for, and what of it is in memory.

    Parameters
    ----------
    index
        What the index keeps of its model.
    model
        What was asked for in place of what the index remembers, if anything.
    load
        How a model is loaded.
    batch_tokens
        Most tokens in one forward pass.

    Attributes
    ----------
    loaded
        Whatever is in memory by now.
    """

    def __init__(
        self,
        index: Remembered,
        model: "str | LanguageModel | None",
        load: LoadConfig | None,
        batch_tokens: int | None,
    ) -> None:
        self.model, self.load, self.batch_tokens = model, load, batch_tokens
        self.loaded: Featurizer | None = None
        self._index = index

    @property
    def name(self) -> str | None:
        """What another process may load, if something was asked for by name."""
        return self.model if isinstance(self.model, str) else None

    @property
    def device(self) -> str:
        """Where the model is; ``cpu`` as long as there is none."""
        return "cpu" if self.loaded is None else str(self.loaded.model.device)

    @property
    def featurizer(self) -> "Featurizer":
        """The model, loaded at first use; raises like :func:`risedb.database.remembered.load_featurizer`."""
        if self.loaded is None:
            self.loaded = load_featurizer(self.model, self._index, self.batch_tokens, self.load)
        return self.loaded

    def require_asked(self) -> None:
        """Load a model that was asked for by another name than the index remembers, lest it be another one."""
        if self.model is not None and not is_remembered(self.model, self.load, self._index.settings):
            _ = self.featurizer

    def on(self, devices: Sequence[str], *, profile: bool) -> "OneModel | Devices":
        """Return what signs the windows of an add: the model here, or a process and a model on each of the devices."""
        from risedb.database.devices import Devices, OneModel

        if not devices:
            return OneModel(self.featurizer, profile=profile)
        self.loaded, self.model = None, self.name  # its memory is for the processes
        load = functools.partial(load_featurizer, self.name, self._index, self.batch_tokens)
        return Devices(devices, load, self.load or LoadConfig(), profile=profile)
