"""Fact tracing: what a query, its pool and its one answer are."""

import re

import numpy as np

from benchmarks.trex import Fact, Tracing, pair

TEMPLATES = {
    "capital": ["The capital of [X] is [Y] .", "[Y] is the seat of [X]'s government.", "[X] ruled from [Y]."],
    "language": ["[X] speaks [Y].", "In [X]  they talk [Y]."],
    "border": ["[X] borders [Y]."],
}
FACTS = [
    Fact(f"Land{i}", relation, f"{relation}{i}") for i in range(20) for relation in ("capital", "language", "border")
]
LONE = [Fact(f"Isle {i}", "language", "Manx") for i in range(30)]


def traced(rows=70, queries=8, facts=(*FACTS, *LONE)):
    return Tracing.of(facts, TEMPLATES, rows, queries)


def test_a_query_states_its_answer_in_other_words():
    tracing = traced()
    assert len(tracing.queries) == len(set(tracing.queries)) == 8
    for query, prompt, answer in zip(tracing.queries, tracing.prompts, tracing.answers, strict=True):
        (fact,) = [fact for fact in FACTS if fact.object == prompt["completion"].strip(" .")]
        assert fact.subject in tracing.pool[answer]
        assert fact.object in tracing.pool[answer]
        assert query != tracing.pool[answer]
        assert query not in tracing.pool
        assert "  " not in query + tracing.pool[answer]


def test_all_facts_of_an_asked_subject_are_in_the_pool():
    tracing = traced()
    assert len(tracing.pool) == 70
    for query in tracing.queries:
        (land,) = re.findall(r"Land\d+", query)
        assert sum(land in re.findall(r"\w+", text) for text in tracing.pool) == 3


def test_subjects_of_fewer_facts_are_not_asked_for():
    assert not traced(facts=LONE).queries


def test_what_two_relations_say_of_the_same_two_is_not_asked_for():
    facts = [Fact("Land", "capital", "Town"), Fact("Town", "language", "Land"), Fact("Land", "border", "Sea")]
    assert not traced(facts=[*facts, Fact("Land", "border", "Marsh")]).queries


def test_the_pair_of_templates_has_the_fewest_words_in_common():
    near, far, last = "The capital of [X], [Y].", "[Y], seat of the king of [X].", "[X]'s capital is [Y] ."
    assert pair([near, far, last]) == (last, far)
    assert pair(TEMPLATES["border"]) is None
    assert pair(["[Y] is [X].", "[Y] was [X]."]) is None


def test_measures_count_the_one_answer():
    tracing = traced()
    scores = np.zeros((8, 70))
    scores[np.arange(8), tracing.answers] = 1
    assert tracing.qualities(scores) == {"mrr": 1, "recall@10": 1}
    scores[np.arange(4), (tracing.answers[:4] + 1) % 70] = 2  # half of them second
    assert tracing.qualities(scores) == {"mrr": 0.75, "recall@10": 1}
    assert tracing.qualities(-scores)["recall@10"] == 0
