"""``risedb eval``: how well an index finds the documents that are known to matter."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from risedb.cli import options
from risedb.cli.render import document_text, print_json
from risedb.errors import InvalidInput

if TYPE_CHECKING:
    from risedb.corpus import BadRow, Row
    from risedb.database import Choices, Hit, RiseDB
    from risedb.database.where import Where
    from risedb.evaluation import Ends, Quality

_CHUNK = 64  # queries that are signed and ranked together
_OPERATOR = re.compile(r"[=<>]|\sin\b", re.IGNORECASE)


@options.with_groups(scoring=options.scoring, opening=options.opening)
def evaluate(
    *,
    index: options.Index,
    sources: Annotated[list[str], typer.Argument(metavar="QUERIES…", help="In any format that add reads.")],
    label: Annotated[
        str,
        typer.Option(
            metavar="FIELD",
            help='What should be found: documents with 1 or true in this field, or a condition: "kind=medical".',
            show_default=False,
        ),
    ],
    cuts: Annotated[
        str, typer.Option(metavar="K,K", help="How many documents from the top, and from the bottom.")
    ] = "5,10,50,100",
    bm25: Annotated[bool, typer.Option("--bm25", help="Rank the same texts by their words, too.")] = False,
    scoring: "Choices",
    at: options.At = None,
    json: options.Json = False,
    opening: dict[str, Any],
) -> None:
    """Measure how well each query's ranking finds the documents that it should.

    [dim]risedb eval pool.rise queries.jsonl --label label --bm25[/dim]

    auPRC and auROC are over the K best and the K worst documents, as in the paper's tables; all are means over queries.
    """
    import risedb
    from risedb.corpus import read_all

    wanted, at_k = _positive(label), _cuts(cuts)
    rows = list(read_all(sources))
    with risedb.open(index, at=at, **opening) as db:
        result = _Evaluation(db, wanted, at_k, scoring).run(rows, bm25=bm25)
    if json:
        print_json(result)
    else:
        _print(result)


class _Evaluation:
    """One index, what should be found in it, and how it is asked."""

    def __init__(self, db: "RiseDB", positive: "Where", cuts: tuple[int, ...], choices: "Choices") -> None:
        self._db, self._positive, self._cuts, self._choices = db, positive, cuts, choices
        among = [str(where)] if (where := choices["where"]) is not None else []
        self._documents = db.count(where=among)
        self._positives = db.count(where=[*among, str(positive)])
        if not self._positives:
            msg = f"of {self._documents:,} documents in {db.path}, none has {positive}; there is nothing to find"
            raise InvalidInput(msg)

    def run(self, rows: "Sequence[Row | BadRow]", *, bm25: bool) -> dict[str, Any]:
        """Return the result as JSON."""
        from risedb.evaluation import evaluate

        methods: dict[str, Any] = {}
        for name, rank in (("RISE", self._rise), ("BM25", self._bm25))[: 1 + bm25]:
            start = perf_counter()
            rankings = list(rank(rows))
            seconds = perf_counter() - start
            methods[name] = {"seconds": seconds, "at": _as_json(evaluate(rankings, self._cuts))}
        return {
            "documents": self._documents,
            "positives": self._positives,
            "positive": str(self._positive),
            "queries": len(rows),
            "methods": methods,
        }

    def _rise(self, rows: "Sequence[Row | BadRow]") -> "Iterator[Ends]":
        from risedb.evaluation import Ends

        whole = 2 * max(self._cuts) >= self._documents
        k = self._documents if whole else max(self._cuts)
        rest = iter(rows)
        while chunk := list(islice(rest, _CHUNK)):
            signatures = self._db.sign(chunk)
            best = self._db.query(signatures, k=k, **self._choices)
            worst = best if whole else self._db.query(signatures, k=k, bottom=True, **self._choices)
            for top, bottom in zip(best, worst, strict=True):
                labels, last = self._labels(top.hits), self._labels(bottom.hits)
                yield Ends(labels, last if whole else last[::-1], self._documents, self._positives)

    def _labels(self, hits: "Sequence[Hit]") -> "np.ndarray[Any, np.dtype[np.bool_]]":
        return np.array([self._positive.matches(hit.record) for hit in hits], dtype=bool)

    def _bm25(self, rows: "Sequence[Row | BadRow]") -> "Iterator[Ends]":
        from risedb.corpus import Row
        from risedb.evaluation import BM25, Ends

        fields, texts, labels = self._db.fields, [], []
        for _, records in self._db.documents(where=self._choices.get("where")):
            texts += [document_text(record, fields) for record in records]
            labels += [self._positive.matches(record) for record in records]
        pool, known = BM25(texts), np.array(labels)
        for row in rows:
            if isinstance(row, Row):  # signing them has refused others
                yield Ends.of_scores(pool.scores(document_text(row.values, fields)), known, max(self._cuts))


def _positive(label: str) -> "Where":
    from risedb.database.where import Where

    return Where.parse(label if _OPERATOR.search(label) else {label: [1, True]})


def _cuts(text: str) -> tuple[int, ...]:
    if not all(part.strip().isdecimal() and int(part) for part in text.split(",")):
        msg = f"--cuts {text!r} is not a list of numbers from 1 on, with commas between them"
        raise InvalidInput(msg)
    return tuple(sorted({int(part) for part in text.split(",")}))


def _as_json(qualities: "Mapping[int, Quality]") -> dict[str, Any]:
    return {str(k): asdict(quality) for k, quality in qualities.items()}


def _print(result: Mapping[str, Any]) -> None:
    share = result["positives"] / result["documents"]
    sys.stdout.write(
        f"{result['documents']:,} documents, {result['positives']:,} of them ({share:.1%}) with {result['positive']}; "
        f"means over {result['queries']:,} queries\n\n"
        f"{'':<6}{'K':>6}{'precision':>11}{'recall':>9}{'MRR':>9}{'auPRC':>9}{'auROC':>9}\n"
    )
    for name, method in result["methods"].items():
        for i, (k, at) in enumerate(method["at"].items()):
            numbers = "".join(f"{at[one]:>9.3f}" for one in ("recall", "mrr", "auprc", "auroc"))
            sys.stdout.write(f"{name if i == 0 else '':<6}{k:>6}{at['precision']:>11.3f}{numbers}\n")
    sys.stdout.write(f"\nA ranking by chance has a precision of {share:.3f} at every K.\n")
