"""An add as a pipeline: in order, durable up to a commit, going on after any failure, on several devices."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import risedb
from risedb.config import LoadConfig, ReadoutConfig, SketchConfig
from risedb.database.ahead import Ahead
from risedb.database.seen import Seen
from risedb.database.writing import CommitEvery
from risedb.errors import DeviceFailure, IdentityMismatch, InvalidInput
from risedb.featurize import Featurizer, Tokens, load_model
from risedb.storage import Store

COMPACT = SketchConfig.parse("compact")
ROWS = [{"id": f"d{i}", "text": f"The cat {'and the dog ' * (i % 5)}sleeps, {i}."} for i in range(12)]


def new_index(path, model):
    return risedb.open(path, model, create=True, sketch=COMPACT)


def contents(db):
    """What an index holds, in its order: ids, records, signatures."""
    parts = list(db.documents())
    return (
        [name for signatures, _ in parts for name in signatures.ids],
        [record for _, records in parts for record in records],
        np.concatenate([np.zeros((0, COMPACT.rh_dim)), *(signatures.rh for signatures, _ in parts)]),
    )


def assert_same(one, other):
    assert one[:2] == other[:2]
    np.testing.assert_allclose(one[2].astype(float), other[2].astype(float), atol=2e-3)


class BrokenError(Exception):
    pass


def fail_at(monkeypatch, where, at):
    """Let one stage fail: the reader at a row, another one at its call."""
    calls = iter(range(10**6))

    def failing(function):
        def call(*arguments, **keywords):
            if next(calls) == at:
                raise BrokenError
            return function(*arguments, **keywords)

        return call

    def rows():
        for i, row in enumerate(ROWS):
            if where == "read" and i == at:
                raise BrokenError
            yield row

    if where == "tokenise":
        from risedb.database import windows

        monkeypatch.setattr(windows, "encode_documents", failing(windows.encode_documents))
    elif where == "sign":
        monkeypatch.setattr(Featurizer, "phi", failing(Featurizer.phi))
    elif where == "write":
        monkeypatch.setattr(Store, "append", failing(Store.append))
    return rows()


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("where", ["read", "tokenise", "sign", "write"])
def test_failure_in_any_stage_leaves_whole_commits_and_the_next_add_completes_them(path, model, monkeypatch, where, at):
    monkeypatch.setattr("risedb.database.reading._CHUNK", 3)
    with new_index(path.with_name("whole.rise"), model) as db:
        db.add(ROWS)
        whole = contents(db)
    with new_index(path, model) as db:
        with monkeypatch.context() as failing:
            rows = fail_at(failing, where, 3 * at if where == "read" else at)
            with pytest.raises(BrokenError):
                db.add(rows, commit_every=3)
        kept = len(db)
        assert kept % 3 == 0
        assert kept == 3 * at if where in {"sign", "write"} else kept <= 3 * at
        assert contents(db)[0] == whole[0][:kept]
        report = db.add(ROWS)
        assert (report.unchanged, report.added) == (kept, 12 - kept)
        assert_same(contents(db), whole)
        assert db.verify(full=True) == []


RESTART = """
    import json, sys, risedb
    rows = json.load(sys.stdin)
    with risedb.open(sys.argv[1], *sys.argv[2:]) as db:
        print(db.add(rows).unchanged, sorted({"torch", "transformers"} & set(sys.modules)))
"""


@pytest.mark.parametrize("named", [[], ["demo"]])
def test_add_in_which_nothing_is_new_loads_no_model(path, named):
    with new_index(path, "demo") as db:
        db.add(ROWS)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RESTART), path, *named],
        input=json.dumps(ROWS), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "12 []\n"


def test_other_model_is_refused_though_nothing_is_new(path, model, shared):
    with new_index(path, model) as db:
        db.add(ROWS)
    other = str(shared / "models" / "tiny-neox")
    with risedb.open(path, other) as db, pytest.raises(IdentityMismatch, match="model: "):
        db.add(ROWS)


def test_killed_add_computes_only_what_was_not_committed(path):
    code = """
        import os, signal, sys, risedb
        from tests.database.test_adding import COMPACT, ROWS
        def told(progress):
            if progress.committed >= 6:
                os.kill(os.getpid(), signal.SIGKILL)
        with risedb.open(sys.argv[1], "demo", create=True, sketch=COMPACT) as db:
            db.add(ROWS, commit_every=2, progress=told)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), path], check=False)
    assert done.returncode == -signal.SIGKILL
    with risedb.open(path, "demo") as db:
        kept, tokens = len(db), []
        assert 6 <= kept < 12
        signed = []
        phi = db.featurizer.phi
        db.featurizer.phi = lambda some: (signed.append(len(some)), phi(some))[1]
        report = db.add(ROWS, progress=lambda progress: tokens.append(progress.tokens))
        assert (report.unchanged, report.added) == (kept, 12 - kept)
        assert sum(signed) == 12 - kept


def test_two_devices_give_what_one_process_gives(path, model):
    with new_index(path.with_name("one.rise"), model) as db:
        db.add(ROWS)
        alone = contents(db)
    with risedb.open(path, "demo", create=True, sketch=COMPACT, load=LoadConfig(dtype="float32")) as db:
        report = db.add(ROWS, devices=["cpu", "cpu"], commit_every=3, profile=True)
        assert report.added == 12
        assert report.seconds["forward"] > 0
        assert_same(contents(db), alone)


def test_device_that_is_not_there_and_one_that_dies_are_named(path, monkeypatch):
    from risedb.database import devices

    with new_index(path, "demo") as db:
        with pytest.raises(InvalidInput, match="cuda:99"):
            db.add(ROWS, devices=["cpu", "cuda:99"])
        answer = devices._Worker.answer

        def killed(worker):
            if not isinstance(result := answer(worker), tuple) or not isinstance(result[0], devices.Reading):
                return result
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.join()
            return result

        monkeypatch.setattr(devices._Worker, "answer", killed)
        with pytest.raises(DeviceFailure, match=r"worked with cpu ended with SIGKILL"):
            db.add(ROWS, devices=["cpu"])
        assert len(db) == 0


def test_gpu_without_memory_is_named_and_the_add_goes_on_from_its_last_commit(path):
    model = load_model("demo", LoadConfig(dtype="float32"))
    batches = iter(range(10**6))

    def exhausted(*_):
        if next(batches) == 4:
            raise torch.OutOfMemoryError

    first = next(model.network.children())
    hook = first.register_forward_pre_hook(exhausted)
    with risedb.open(path, model, create=True, sketch=COMPACT, batch_tokens=40) as db:
        with pytest.raises(DeviceFailure, match=r"batch of \d+ x \d+ tokens .--batch-tokens is 40.; give .*--"):
            db.add(ROWS, commit_every=3)
        assert 0 < len(db) < 12
        hook.remove()
        report = db.add(ROWS)
        assert (report.added + report.unchanged, report.unchanged > 0) == (12, True)
        got = contents(db)
    with risedb.open(path.with_name("other.rise"), model, create=True, sketch=COMPACT) as other:
        other.add(ROWS)
        assert_same(got, contents(other))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_gpu_are_as_large_as_its_memory_allows():
    model = load_model("demo", LoadConfig(device="cuda"))
    featurizer = Featurizer(model, ReadoutConfig(seq_len=128), COMPACT)
    assert 256 <= featurizer.batch_tokens <= 32768
    featurizer.phi([Tokens(np.arange(128))] * (featurizer.batch_tokens // 128))
    held = torch.empty(torch.cuda.mem_get_info()[0] - 2**28, dtype=torch.uint8, device="cuda")
    assert Featurizer(model, ReadoutConfig(seq_len=128), COMPACT).batch_tokens < featurizer.batch_tokens
    del held


def test_waiting_stdin_does_not_keep_an_interrupted_add_from_ending(path):
    risedb.open(path, "demo", create=True, sketch=COMPACT).close()
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from risedb.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "add", str(path), "-", "--commit-every", "1"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as add:  # fmt: skip
        for row in ROWS * 30:
            add.stdin.write(json.dumps({**row, "id": os.urandom(4).hex()}).encode() + b"\n")
        add.stdin.flush()
        with risedb.open(path) as db:
            while not len(db):
                db.refresh()
        add.send_signal(signal.SIGINT)
        _, _ = add.wait(), add.stdin.close()
        assert b"new documents were committed and stay" in add.stderr.read()
    assert add.returncode == 130


@pytest.mark.parametrize("wrong", [0, "0s", "soon", "3h", -1])
def test_commit_every_is_a_count_or_a_time(path, model, wrong):
    assert CommitEvery.parse("1.5min").seconds == 90
    assert CommitEvery.parse("7").documents == 7
    with new_index(path, model) as db, pytest.raises(InvalidInput, match="commit_every"):
        db.add(ROWS, commit_every=wrong)


def test_seen_is_a_dict():
    rng = np.random.default_rng(0)
    table, seen = {}, Seen()
    for key, value in rng.integers(0, 2**12, (20_000, 2), np.uint64).tolist():
        assert seen.setdefault(key << 10, value) == table.get(key << 10)
        table.setdefault(key << 10, value)
    assert len(seen) == len(table)


def test_what_runs_ahead_ends_with_its_error_in_its_place():
    def items():
        yield from range(3)
        raise BrokenError

    ahead = Ahead(items(), depth=2)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(BrokenError):
            next(ahead)
    endless = Ahead(iter(int, 1), depth=2)
    endless.close()
    endless.join()
