"""An index by several checkpoints of a model: one whole index each, and queries that add their scores (TracIn's sum).

Source: arXiv:2002.08484, Section 3.2. A query sees the documents that every checkpoint's index has with the same
content; the order of insertion is that of the first.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, NoReturn

from risedb.corpus import BadRow, Fields, Row
from risedb.corpus.row import checked_row
from risedb.database.alignment import Alignment
from risedb.database.hits import AddProgress, AddReport
from risedb.database.index import RiseDB
from risedb.database.querying import Choices, Queries, Question, Scores
from risedb.database.where import Wanted, Where
from risedb.errors import Corrupt, InvalidInput
from risedb.signature import Signatures
from risedb.storage import CompactReport, Finding, Snapshot, checkpoint_folders, checkpoint_weights
from risedb.storage import verify as verify_index
from risedb.topk import Part, Ranked, joint_scan, joint_scores


@dataclass(frozen=True, slots=True, eq=False)
class JointSignatures:
    """Signatures of the same documents by each checkpoint.

    Parameters
    ----------
    parts
        One value for each checkpoint, with the same ids.
    """

    parts: tuple[Signatures, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The documents' ids."""
        return self.parts[0].ids

    def __len__(self) -> int:
        """Count the documents."""
        return len(self.parts[0])

    @classmethod
    def concatenate(cls, several: Sequence["JointSignatures"]) -> "JointSignatures":
        """Put the rows of several values one after the other."""
        return cls(tuple(map(Signatures.concatenate, zip(*(one.parts for one in several), strict=True))))


class Checkpoints(RiseDB):
    """An index by several checkpoints in one folder; made by :func:`risedb.open` with a list of models.

    What it does is what :class:`RiseDB` does, but for the history and the export of each index, which are its own: open
    it, ``pool.rise/1`` and so on. A query holds all models in memory, an add one at a time.

    Attributes
    ----------
    children
        The indexes, in the order of the checkpoints.
    weights
        What each one's scores are multiplied by.
    """

    def __init__(self, path: Path, children: Sequence[RiseDB], weights: Sequence[float]) -> None:
        first, signer = children[0], children[0]._signer
        super().__init__(first._store, model=signer.model, load=signer.load, batch_tokens=signer.batch_tokens)
        self.children = tuple(children)
        self.weights = tuple(weights)
        self._folder = path
        self._aligned: tuple[list[int], Alignment] | None = None

    @property
    def path(self) -> Path:
        """The folder of all."""
        return self._folder

    def __len__(self) -> int:
        """Count the documents that all indexes have."""
        return self.count()

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the indexes again in another process, each as of the same commit, for reading."""
        return Checkpoints, (self._folder, self.children, self.weights)

    def close(self) -> None:
        """Close the indexes."""
        for child in self.children:
            child.close()

    def add(  # type: ignore[override]  # the other choices are those of RiseDB.add
        self,
        rows: Iterable[Row | BadRow | dict[str, Any] | str],
        *,
        progress: Callable[[AddProgress], None] | None = None,
        **choices: Any,
    ) -> AddReport:
        """Add documents to one index after the other, each with its own model.

        If it is stopped in between, running it again completes the indexes that are behind. Rows that can be gone
        through only once are kept in a temporary file beside the indexes.

        Parameters
        ----------
        rows, progress, choices
            As for :meth:`RiseDB.add`.

        Returns
        -------
        AddReport
            What was done for the index for which most was; rows skipped in any of them.
        """
        for child in self.children:
            child._store.lock()
        reports: list[AddReport] = []
        sofar = newest = AddProgress(0, 0, 0)

        def shown(one: AddProgress) -> None:
            nonlocal newest
            counts = {name: getattr(sofar, name) + getattr(one, name) for name in ("documents", "tokens", "committed")}
            newest = replace(one, **counts)
            if progress is not None:
                progress(newest)

        with _Repeated(rows, self._folder) as repeated:
            for child in self.children:
                reports.append(child.add(repeated, progress=shown, **choices))
                child._signer.loaded = None  # the next model takes its place
                sofar = newest
        return AddReport(
            added=max(report.added for report in reports),
            unchanged=min(report.unchanged for report in reports),
            updated=max(report.updated for report in reports),
            truncated=max(report.truncated for report in reports),
            skipped=tuple(dict.fromkeys(row for report in reports for row in report.skipped)),
            rows=len(self),
            seconds=_summed([report.seconds for report in reports if report.seconds is not None]),
        )

    def count(self, *, where: Wanted = None) -> int:
        """Count the documents that all indexes have, and whose record says so."""
        snapshots = [child._store.snapshot() for child in self.children]
        return len(self._alignment(snapshots).where(snapshots[0], Where.parse(where).conditions))

    def delete(self, ids: str | Iterable[str] = (), *, where: Wanted = None, preview: bool = False) -> list[str]:
        """Delete documents from each index; see :meth:`RiseDB.delete`. Returns the ids deleted from any."""
        wanted = ids if isinstance(ids, str) else list(ids)
        deleted = [child.delete(wanted, where=where, preview=preview) for child in self.children]
        return list(dict.fromkeys(name for names in deleted for name in names))

    def compact(self, *, preview: bool = False) -> CompactReport:
        """Compact each index; see :meth:`RiseDB.compact`. Returns the sums."""
        reports = [asdict(child.compact(preview=preview)) for child in self.children]
        return CompactReport(**{name: sum(report[name] for report in reports) for name in reports[0]})

    def refresh(self) -> bool:
        """Go on to the newest commits, and tell whether there is one."""
        return max([child.refresh() for child in self.children])

    def commits(self) -> NoReturn:
        """Refuse: each index has commits of its own."""
        self._refuse("has a history")

    def documents(self, *, where: Wanted = None) -> NoReturn:
        """Refuse: each index has signatures of its own."""
        self._refuse("is exported")

    def sign(  # type: ignore[override]
        self, queries: "Queries | JointSignatures", *, fields: Fields | None = None
    ) -> JointSignatures:
        """Compute signatures of texts or rows by each checkpoint's model, without adding them."""
        if isinstance(queries, JointSignatures):
            return queries
        if isinstance(queries, Signatures):
            msg = f"{self._folder} needs signatures by each of its checkpoints; its sign and signatures give them"
            raise InvalidInput(msg)
        rows = queries if isinstance(queries, str | dict | Row) else list(queries)
        return JointSignatures(tuple(child.sign(rows, fields=fields) for child in self.children))

    def signatures(self, ids: str | Sequence[str]) -> JointSignatures:  # type: ignore[override]
        """Return stored signatures by id, of each checkpoint.

        Raises
        ------
        NotFound
            If an id is not in one of the indexes.
        """
        return JointSignatures(tuple(child.signatures(ids) for child in self.children))

    def verify(self, *, full: bool = True) -> list[Finding]:
        """Check each index."""
        return verify(self._folder, full=full)

    def info(self) -> dict[str, Any]:
        """Describe all indexes as a JSON object: the documents that all have, bytes, and each one with its weight."""
        about = [child.info() for child in self.children]
        return {
            "path": str(self._folder),
            "rows": len(self),
            "bytes": sum(one["bytes"] for one in about),
            "checkpoints": [{"weight": weight, **one} for weight, one in zip(self.weights, about, strict=True)],
        }

    def _ranked(
        self, queries: "Queries | JointSignatures", choices: Choices, k: int, *, bottom: bool
    ) -> tuple[Snapshot, list[str], list[Ranked]]:
        first, names, parts, aligned = self._asked(queries, choices)
        return first, names, joint_scan(parts, aligned.sequence, k=min(k, max(len(aligned), 1)), bottom=bottom)

    def _scored(self, queries: "Queries | JointSignatures", choices: Choices) -> tuple[list[str], Iterator[Scores]]:
        first, names, parts, aligned = self._asked(queries, choices)
        return names, (Scores(*some, first) for some in joint_scores(parts, aligned.sequence))

    def _asked(self, queries: Any, choices: Choices) -> tuple[Snapshot, list[str], list[Part], Alignment]:
        how, signed, subtracted = self._signed(queries, choices)
        minus = [None] * len(signed.parts) if subtracted is None else subtracted.parts
        questions = [Question(queries=one, minus=less, **how) for one, less in zip(signed.parts, minus, strict=True)]
        snapshots = [child._store.snapshot() for child in self.children]
        aligned = self._alignment(snapshots).where(snapshots[0], how["where"].conditions)
        parts = [
            child._asking.part(snapshot, question, rows, weight)
            for child, snapshot, question, rows, weight in zip(
                self.children, snapshots, questions, aligned.rows, self.weights, strict=True
            )
        ]
        return snapshots[0], questions[0].names, parts, aligned

    def _alignment(self, snapshots: Sequence[Snapshot]) -> Alignment:
        versions, known = [snapshot.version for snapshot in snapshots], self._aligned
        if known is None or known[0] != versions:
            self._aligned = known = versions, Alignment.of(snapshots)
        return known[1]

    def _refuse(self, what: str) -> NoReturn:
        places = ", ".join(str(child.path) for child in self.children)
        msg = f"{self._folder} holds an index for each checkpoint, and each {what} by itself: {places}"
        raise InvalidInput(msg)


def verify(path: Path, *, full: bool = True) -> list[Finding]:
    """Check an index, or each index of a folder of several; see :func:`risedb.storage.verify`."""
    try:
        weights = checkpoint_weights(path)
    except Corrupt as error:
        return [Finding("FORMAT", str(error))]
    if weights is None:
        return verify_index(path, full=full)
    return [
        replace(finding, place=f"{folder.name}: {finding.place}")
        for folder in checkpoint_folders(path, len(weights))
        for finding in verify_index(folder, full=full)
    ]


def _summed(seconds: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    return {stage: sum(one[stage] for one in seconds) for stage in seconds[0]} if seconds else None


class _Repeated:
    """Rows that are gone through several times: those that come only once are written to a file as they pass."""

    def __init__(self, rows: Iterable[Any], folder: Path) -> None:
        self._rows = rows
        self._once = iter(rows) is rows
        self._folder = folder
        self._file: IO[str] | None = None

    def __enter__(self) -> "_Repeated":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[Any]:
        if not self._once:
            yield from self._rows
        elif self._file is None:
            self._file = tempfile.TemporaryFile("w+", encoding="ascii", dir=self._folder)  # noqa: SIM115  closed at exit
            for number, row in enumerate(self._rows, 1):
                kept = _kept(row, f"row {number}")
                self._file.write(json.dumps(_line(kept)) + "\n")
                yield kept
        else:
            self._file.seek(0)
            for line in self._file:
                match json.loads(line):
                    case [place, str(reason)]:
                        yield BadRow(place, reason)
                    case [place, values]:
                        yield Row(place, values)
                    case text:
                        yield text


def _kept(row: Row | BadRow | Mapping[str, Any] | str, place: str) -> Row | BadRow | str:
    """Return a row that JSON holds, or the reason why it does not."""
    if isinstance(row, Row):
        return checked_row(row.place, dict(row.values))
    return checked_row(place, dict(row)) if isinstance(row, Mapping) else row


def _line(row: Row | BadRow | str) -> Any:
    return row if isinstance(row, str) else [row.place, row.values if isinstance(row, Row) else row.reason]
