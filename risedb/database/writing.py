"""The last stage of an add: signatures before normalisation to unit rows, and these to commits, in their order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Self

import numpy as np

from risedb.config import SketchConfig
from risedb.database.reading import NewDocument
from risedb.database.tally import Tally
from risedb.errors import InvalidInput
from risedb.signature import Signatures
from risedb.storage import NewRows, Store

if TYPE_CHECKING:  # torch is imported when something is to be signed
    from risedb.featurize import Phi

_PENDING_BYTES = 2**26  # of signatures that wait for a commit
_UNITS = {"s": 1, "min": 60}


@dataclass(frozen=True, slots=True)
class CommitEvery:
    """When what is signed becomes durable: after so many documents, or seconds."""

    documents: int | None = None
    seconds: float | None = 10

    @classmethod
    def parse(cls, text: str | int | None) -> Self:
        """Read ``1000``, ``30s`` or ``5min``; None is ten seconds.

        Raises
        ------
        InvalidInput
            If it is none of these.

        Examples
        --------
        >>> CommitEvery.parse("2min")
        CommitEvery(documents=None, seconds=120.0)
        """
        if text is None:
            return cls()
        found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?) *(s|min)|(\d{1,18})", str(text), re.ASCII)
        number = float(found[1] or found[3]) if found else 0
        if not found or not number:
            msg = f"commit_every is {text!r}; it must be a number of documents, of at least 1, or a time: 30s, 5min"
            raise InvalidInput(msg)
        return cls(seconds=number * _UNITS[found[2]]) if found[2] else cls(documents=int(number), seconds=None)


def pending_rows(sketch: SketchConfig) -> int:
    """Return how many documents at most wait for a commit."""
    return max(_PENDING_BYTES // (4 * (sketch.rh_dim + sketch.gh_dim)), 1)


class Writing:
    """Takes windows in the order of the input and commits what has come so far, now and then.

    Parameters
    ----------
    store
        Locked for writing.
    every
        When to commit.
    tally
        Counts what is committed.

    Attributes
    ----------
    committed
        Documents.
    most
        Documents in a commit, if that was asked for.
    """

    def __init__(self, store: Store, every: CommitEvery, tally: Tally) -> None:
        self._store = store
        self._tally = tally
        self._most = every.documents or pending_rows(store.identity.sketch)
        self._seconds = every.seconds
        self._pending: list[tuple[Sequence[NewDocument], Signatures]] = []
        self._waiting = 0  # documents
        self._since = monotonic()
        self.committed = 0
        self.most = every.documents

    def write(self, new: Sequence[NewDocument], phi: "Phi") -> None:
        """Normalise a window, and commit what is due.

        Raises
        ------
        InvalidInput
            By the tally, for a document for which the model gave no numbers.
        """
        for i in np.flatnonzero(~phi.finite).tolist():
            reason = f"the model gives NaN or infinite logits for document {new[i].document.id!r}"
            self._tally.reject(new[i].number, new[i].document.place, reason)
        sound = np.flatnonzero(phi.finite)
        while len(sound):
            some, sound = np.split(sound, [self._most - self._waiting])
            chosen = [new[i] for i in some.tolist()]
            signatures = Signatures.from_phi([one.document.id for one in chosen], phi.rh[some], phi.gh[some])
            self._pending.append((chosen, signatures))
            self._waiting += len(chosen)
            if self._waiting == self._most:
                self.commit()
        if self._seconds is not None and monotonic() - self._since >= self._seconds:
            self.commit()

    def commit(self) -> None:
        """Make durable what has come so far."""
        if self._pending:
            new = [one for some, _ in self._pending for one in some]
            self._store.append(
                NewRows(
                    Signatures.concatenate([signatures for _, signatures in self._pending]),
                    [one.document.content_hash for one in new],
                    [one.document.record for one in new],
                )
            )
            self._pending.clear()
            self._waiting = 0
            self.committed += len(new)
            self._tally.updated += sum(one.replaces for one in new)
            self._tally.added += sum(not one.replaces for one in new)
            self._tally.truncated += sum(one.truncated for one in new)
        self._since = monotonic()
