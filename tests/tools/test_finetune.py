"""Training on a pool: what the loss is on, and that a seed fixes the outcome."""

import copy
import json

import numpy as np
import pytest
import torch

from risedb import LoadConfig
from risedb.featurize import Tokens, load_model
from tests.featurize.models import VOCABULARY, byte_tokenizer, random_model
from tools.finetune import Recipe, loss_of, main, new_optimizer, shuffled_batches, training

TEMPLATE = r"Q: {prompt}\nA: {completion}"


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    lengths = [9, 5, 12, 2, 9, 7, 12, 3]
    return [Tokens(rng.integers(VOCABULARY, size=n), 1 + int(rng.integers(n - 1))) for n in lengths]


@pytest.fixture(scope="module")
def model():
    return random_model("GPTNeoX")


def trained(model, windows, **choices):
    mine = copy.deepcopy(model)
    losses = list(training(mine, windows, Recipe(batch_tokens=24, **choices)))
    return losses, torch.nn.utils.parameters_to_vector(mine.parameters()).detach()


@torch.inference_mode()
def test_only_counted_positions_take_loss(model, windows):
    expected = []
    for one in windows:
        logits = model.double()(input_ids=torch.from_numpy(one.ids)[None]).logits[0].log_softmax(-1)
        expected += [-float(logits[t - 1, one.ids[t]]) for t in range(one.first_target, len(one.ids))]
    model.float()
    loss, positions = loss_of(model, windows)
    assert positions == len(expected)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)


def test_loss_falls_and_is_per_counted_token(model, windows):
    losses, _ = trained(model, windows, epochs=8, learning_rate=3e-3)
    with torch.inference_mode():
        before = float(loss_of(model, windows)[0])
    assert losses[0] < before + 0.5
    assert losses[-1] < 0.7 * before
    still, _ = trained(model, windows, epochs=1, learning_rate=0.0)
    assert still == pytest.approx([before], rel=1e-5)


def test_a_seed_fixes_the_weights(model, windows):
    first, again, other = (trained(model, windows, epochs=2, seed=seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_epoch_reads_every_window_once_within_the_budget(windows):
    rng = np.random.default_rng(0)
    epochs = [shuffled_batches(windows, 24, rng) for _ in range(4)]
    for batches in epochs:
        assert sorted(i for batch in batches for i in batch) == list(range(len(windows)))
        assert all(len(batch) * max(len(windows[i].ids) for i in batch) <= 24 for batch in batches)
    assert len({str(batches) for batches in epochs}) > 1


def test_the_rate_warms_up_and_falls_to_a_twentieth(model):
    optimizer, schedule = new_optimizer(model, 1.0, steps=100, warmup=5)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert schedule.get_last_lr()[0] == pytest.approx(0.05)


def test_the_command_saves_a_model_that_risedb_reads(tmp_path, capsys, model):
    before, out, pool = tmp_path / "before", tmp_path / "after", tmp_path / "pool.jsonl"
    model.save_pretrained(before)
    byte_tokenizer().save_pretrained(before)
    pool.write_text(json.dumps({"prompt": "2+2?", "completion": "4."}) + "\n")
    command = [str(before), str(pool), "--template", TEMPLATE, "--loss-on", "completion", "--epochs", "2"]
    main([*command, "--out", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "1 documents, 13 tokens"
    assert [line.split(":")[0] for line in printed[1:]] == ["epoch 1", "epoch 2"]
    was, now = (load_model(str(folder), LoadConfig(dtype="float32")) for folder in (before, out))
    assert was.fingerprint != now.fingerprint
    assert was.tokenizer.fingerprint() == now.tokenizer.fingerprint()
    read = was.tokenizer.encode(["Q: 2+2?\nA: 4."], [11])  # the text as trained on, its loss from "4." on
    assert read[0].first_target == 11
    with torch.inference_mode():
        assert loss_of(now.network, read)[0] < loss_of(was.network, read)[0]
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--out", str(out)])
    assert f"{out} holds a model already" in capsys.readouterr().err
