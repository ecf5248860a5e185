"""Fact tracing (Table 17): find the one statement of a fact, asked for in other words.

    python -m benchmarks.trex ../shared --methods bm25,hidden,rise

A pool of 20,000 statements, the paper's smallest: facts of T-REx, each in one of ParaRel's templates. A query states a
fact of the pool by another template, of two the pair with the fewest words in common, and ends with the object, as a
prompt with its completion. Its subject has at least three facts, all of them in the pool, so that a name is not enough;
but subject and object are written alike in both, which gives everything that compares words an easy task. Statements
are templates here, where the paper's candidates are sentences of Wikipedia. Measured are MRR (of the first 1,000 ranks)
and recall at 10; `rise-object` takes the query's loss on the object alone.
"""

import argparse
import json
import random
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.rivals.measure import Measured
from benchmarks.rivals.registry import METHODS, Setting
from risedb.corpus import Fields, Row, read
from risedb.evaluation import Ends, evaluate

DEEP = 1000
RESULT = Path(__file__).parent / "results" / "trex.json"
ON_OBJECT = Fields(template="{prompt}{completion}", loss_on="completion")
RISE: dict[str, dict[str, Any]] = {
    "rise": {},
    "rise-rh": {"lambda_gh": 0.0},
    "rise-gh": {"lambda_rh": 0.0},
    "rise-centred": {"center": True},
    "rise-object": {"fields": ON_OBJECT},
}


class Fact(NamedTuple):
    """A subject, its relation as Wikidata numbers it, an object."""

    subject: str
    relation: str
    object: str

    @property
    def ends(self) -> frozenset[str]:
        """What it is about, in either order."""
        return frozenset((self.subject, self.object))

    def stated(self, template: str) -> str:
        """Fill in a template."""
        return tidy(template).replace("[X]", self.subject).replace("[Y]", self.object)

    def prompt(self, template: str) -> dict[str, str]:
        """Return a template that ends with the object as a prompt and its completion."""
        before, _, after = tidy(template).rpartition(" [Y]")
        return {"prompt": before.replace("[X]", self.subject), "completion": f" {self.object}{after}"}


def tidy(template: str) -> str:
    """Leave out the spaces that ParaRel has before a full stop and twice between words."""
    return re.sub(r" +", " ", template).replace(" .", ".").strip()


@dataclass(frozen=True, slots=True, eq=False)
class Tracing:
    """Statements, and queries with one positive each.

    Parameters
    ----------
    pool
        (n,) statements.
    prompts
        (m,) queries as prompt and completion.
    answers
        (m,) int64: the row of each one's fact.
    """

    pool: list[str]
    prompts: list[dict[str, str]]
    answers: NDArray[np.int64]

    @property
    def queries(self) -> list[str]:
        """The queries as texts."""
        return [row["prompt"] + row["completion"] for row in self.prompts]

    @classmethod
    def of(
        cls, facts: Sequence[Fact], templates: dict[str, list[str]], rows: int, queries: int, seed: int = 42
    ) -> "Tracing":
        """Draw queries and a pool around them.

        Parameters
        ----------
        facts
            All there are; those whose relation has no template are left out.
        templates
            Of each relation, with [X] and [Y].
        rows, queries
            How many, at most.
        seed
            Of every choice.
        """
        rng = random.Random(seed)
        pairs = {relation: pair(some) for relation, some in templates.items()}
        facts = sorted({fact for fact in facts if fact.relation in templates})
        rng.shuffle(facts)
        of_subject, between = defaultdict(list), Counter[frozenset[str]]()
        for fact in facts:
            of_subject[fact.subject].append(fact)
            between[fact.ends] += 1
        asked, near = {}, set()
        for some in of_subject.values():
            # two facts between the same two may be one: "A is in B" says that B is its place, and its country
            fit = [fact for fact in some if between[fact.ends] == 1 and pairs[fact.relation]]
            if len(some) >= 3 and fit and len(asked) < queries:
                asked[fit[0]] = pairs[fit[0].relation]
                near.update(some)
        rest = [fact for fact in facts if fact not in asked]
        rest.sort(key=lambda fact: fact not in near)
        chosen = sorted([*asked, *rest][:rows])
        pool = [
            fact.stated(asked[fact][1] if fact in asked else rng.choice(templates[fact.relation])) for fact in chosen
        ]
        prompts = [fact.prompt(template) for fact, (template, _) in asked.items()]
        row_of = {fact: row for row, fact in enumerate(chosen)}
        return cls(pool, prompts, np.array([row_of[fact] for fact in asked]))

    @classmethod
    def load(cls, shared: Path, rows: int, queries: int) -> "Tracing":
        """Read the shared facts."""
        folder = shared / "data" / "trex"
        read_rows = [row.values for row in read(folder / "trex_pararel.jsonl.zst") if isinstance(row, Row)]
        facts = [Fact(row["subject"], row["relation"], row["object"]) for row in read_rows]
        templates = json.loads((folder / "trex_pararel_patterns.json").read_text())
        return cls.of(facts, templates, rows, queries)

    def qualities(self, scores: NDArray[np.floating]) -> dict[str, float]:
        """Measure one method's (m, n) scores."""
        ends = []
        for row, answer in zip(scores, self.answers, strict=True):
            labels = np.zeros(len(self.pool), bool)
            labels[answer] = True
            ends.append(Ends.of_scores(row, labels, DEEP))
        at = evaluate(ends, (10, DEEP))
        return {"mrr": at[DEEP].mrr, "recall@10": at[10].recall}


def pair(templates: Sequence[str]) -> tuple[str, str] | None:
    """Return a template that ends with the object, and the one with the fewest of its words, if there are two."""
    last = [one for one in templates if re.search(r" \[Y\]\.?$", tidy(one))]
    pairs = [(one, other) for one in last for other in templates if tidy(one) != tidy(other)]
    return min(pairs, key=lambda both: (len(words(both[0]) & words(both[1])), both), default=None)


def words(template: str) -> set[str]:
    return set(re.findall(r"\w+", template.replace("[X]", "").replace("[Y]", "").lower()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/trex and models/tiny-neox")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--methods", default="length,random,bm25,input-embedding,hidden,rise")
    parser.add_argument("--model", help="target model; by default models/tiny-neox of the shared folder")
    parser.add_argument("--out", type=Path, default=RESULT, help="file for the results")
    given = parser.parse_args()
    model = given.model or str(given.shared / "models" / "tiny-neox")
    tracing = Tracing.load(given.shared, given.rows, given.queries)
    result: dict[str, Any] = {"machine": describe(), "model": Path(model).name}
    result |= {"pool": len(tracing.pool), "queries": len(tracing.queries), "methods": {}}
    example = tracing.queries[0], tracing.pool[tracing.answers[0]]
    print(f"{len(tracing.pool)} statements, {len(tracing.queries)} queries, such as {example[0]!r} for {example[1]!r}")

    def keep(name: str, scores: NDArray[np.floating], costs: dict[str, Any]) -> None:
        quality = tracing.qualities(scores)
        print(f"{name:<18} MRR {quality['mrr']:.4f}  recall@10 {quality['recall@10']:.4f}", flush=True)
        result["methods"][name] = {**quality, **costs}
        given.out.write_text(json.dumps(result, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(model, Path(scratch))
        for name in given.methods.split(","):
            rival = METHODS[name](setting)
            measured = Measured.of(rival, tracing.pool, tracing.queries)
            if name != "rise":
                keep(name, measured.scores, measured.costs)
                continue
            for one, choices in RISE.items():
                rows = tracing.prompts if "fields" in choices else tracing.queries
                scores = np.concatenate([part.scores for part in rival.db.scores(rows, **choices)]).T
                keep(one, scores, measured.costs)


if __name__ == "__main__":
    main()
