"""Indexes that share forward passes are the indexes that each would be alone."""

import numpy as np
import pytest
import torch

import risedb
from benchmarks import factor_norm
from benchmarks.rivals.task import Task
from risedb.evaluation import Ends, evaluate
from risedb.featurize import LanguageModel, load_model
from tests import oracle

TEXTS = [f"The {animal} sleeps {'soundly ' * (i % 3)}on the {place}." for i in range(2) for animal in ("cat", "dog")
         for place in ("blanket", "roof", "sea")]  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return load_model("demo", risedb.LoadConfig(dtype="float32"))


def test_choices_measured_together_are_those_measured_alone(model, tmp_path, monkeypatch):
    ran = []
    forward = LanguageModel.hidden
    monkeypatch.setattr(LanguageModel, "hidden", lambda *given: ran.append(1) or forward(*given))
    monkeypatch.setattr(factor_norm, "_TOGETHER", 8)
    labels = np.array(["cat" in text for text in TEXTS])
    task = Task(TEXTS, ["A cat naps.", "Cats!"], labels, len(TEXTS))
    measured = factor_norm.measure(task, model)
    assert len(ran) == 3  # two parts of the pool and the queries, for all indexes together
    assert len(measured) == len(factor_norm.READOUTS) * len(factor_norm.SCORES)
    readout = risedb.ReadoutConfig(seq_len=256, factor_norm="none")
    load = risedb.LoadConfig(dtype="float32")
    with risedb.open(tmp_path / "alone", "demo", create=True, readout=readout, load=load) as alone:
        alone.add({"id": str(number), "text": text} for number, text in enumerate(TEXTS))
        (scores,) = (part.scores for part in alone.scores(task.queries, center=True))
    quality = evaluate([Ends.of_scores(one, labels, 100) for one in scores.T], [5])[5]
    assert measured["none, centred"]["auprc@5"] == pytest.approx(quality.auprc)


def test_residual_energy_is_the_mean_over_positions_of_the_class(model):
    task = Task(TEXTS[:2], ["A cat naps."], np.array([False, True]), 2)
    measured = factor_norm.residual_energy(task, model)
    for name, text in zip(("queries", "positives", "negatives"), (*task.queries, TEXTS[1], TEXTS[0]), strict=True):
        (tokens,) = model.tokenizer.encode([text], [0])
        logits = model.network(torch.from_numpy(tokens.ids)[None]).logits[0].detach().double().numpy()
        squares = []
        for z, y in zip(logits[tokens.first_target - 1 :], tokens.ids[tokens.first_target :], strict=False):
            ptilde = oracle.support(z, int(y), tau=1.0, rho_cum=0.92, min_keep=4, k_max=256)
            squares.append(sum((p - (v == y)) ** 2 for v, p in ptilde.items()))
        assert measured[name] == pytest.approx(np.mean(squares), rel=1e-4)
