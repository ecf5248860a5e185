"""The whole of RiseDB with a real model: the one that it ships."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import risedb
from risedb.config import LoadConfig, ReadoutConfig, SketchConfig, StoreConfig
from risedb.corpus import BadRow, Fields, Row, read_python_docs
from risedb.errors import Busy, IdentityMismatch, InvalidInput, NotFound
from risedb.featurize import LanguageModel
from tests import oracle
from tests.featurize.models import byte_tokenizer, random_model

POOL = [
    {"id": "cat", "text": "The cat sleeps on the blanket.", "source": "pets"},
    {"id": "lock", "text": "Acquire the lock, blocking or non-blocking, and release it.", "source": "threads"},
    {"id": "path", "text": "Return the absolute pathname of the file or directory.", "source": "files"},
    {"id": "dog", "text": "The dog sleeps on the blanket, and the cat on the dog.", "source": "pets"},
]


@pytest.fixture
def db(path, model):
    with risedb.open(path, model, create=True) as db:
        db.add(POOL)
        yield db


def test_query_finds_what_shares_the_model_s_errors_with_its_record(db):
    (ranking,) = db.query("The cat is sleeping on the blanket.", k=2)
    assert ranking.query == "query-1"
    assert {hit.id for hit in ranking} == {"cat", "dog"}
    assert [hit.rank for hit in ranking] == [1, 2]
    assert ranking[0].score > ranking[1].score
    assert ranking[0].record in POOL


def test_every_score_is_the_oracle_s(db, model):
    texts = ["The cat is sleeping on the blanket.", "Return the path of a file."]
    numbers = db.identity.readout
    head = model.head.double().numpy()

    def phi(text):
        ids = torch.tensor([model._model.name_or_path is not None and tokens(text)])
        hidden = model.hidden(ids, torch.ones_like(ids))[0, :-1]
        return oracle.signature(
            hidden.double().numpy(), model.logits(hidden).double().numpy(), ids[0, 1:].numpy(), head,
            widths=(128, 24, 128), tau=numbers.tau, rho_cum=numbers.rho_cum,
            min_keep=numbers.min_keep, k_max=numbers.k_max,
        )  # fmt: skip

    def tokens(text):
        return model.tokenizer.encode([text], [0])[0].ids.tolist()

    pool = {row["id"]: phi(row["text"]) for row in POOL}
    for text, ranking in zip(texts, db.query(texts, k=10), strict=True):
        query = phi(text)
        for hit in ranking:
            assert abs(hit.score - oracle.score(*pool[hit.id], *query)) < 2e-3  # float16 rows


def test_more_documents_change_nothing_that_was_there(db):
    before = {hit.id: hit.score for hit in db.query("A lock of threads.")[0]}
    db.add([{"id": "new", "text": "Locks are released by the thread that holds them."}])
    after = {hit.id: hit.score for hit in db.query("A lock of threads.")[0]}
    assert after.keys() == {*before, "new"}
    assert all(after[name] == score for name, score in before.items())


def test_add_again_computes_nothing_and_changes_nothing(db):
    before = db.query("cat", k=4)
    report = db.add(POOL)
    assert (report.added, report.unchanged, report.updated, report.rows) == (0, 4, 0, 4)
    assert db.query("cat", k=4) == before


def test_changed_document_takes_the_place_of_the_old_one(db):
    report = db.add([{"id": "cat", "text": "Sockets connect to a server."}])
    assert (report.added, report.updated, report.rows) == (0, 1, 4)
    (ranking,) = db.query("The cat sleeps on the blanket.", k=10)
    assert len(ranking) == 4
    assert {hit.id: hit.record for hit in ranking}["cat"] == {"id": "cat", "text": "Sockets connect to a server."}


def test_changed_metadata_alone_is_an_update(db):
    db.add([{**POOL[0], "source": "zoo"}])
    assert [hit.id for hit in db.query("cat", where="source=zoo")[0]] == ["cat"]


def test_documents_without_ids_are_named_by_content_and_equal_ones_are_one(path, model):
    with risedb.open(path, model, create=True) as db:
        report = db.add(["one text of two", "one text of two", "and another"])
        assert (report.added, report.unchanged, report.rows) == (2, 1, 2)
        assert db.add(["and another"]).unchanged == 1


def test_stored_document_as_query_needs_no_model_and_gives_its_own_score(db, path):
    by_text = {hit.id: hit.score for hit in db.query(POOL[0]["text"])[0]}
    db.close()
    code = """
        import sys, risedb
        with risedb.open(sys.argv[1]) as db:
            (ranking,) = db.query(db.signatures(["cat"]))
        assert ranking[0].id == "cat" and abs(ranking[0].score - 1) < 1e-3
        print({hit.id: hit.score for hit in ranking})
        assert not {"torch", "transformers"} & set(sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    by_id = eval(done.stdout)
    assert all(abs(by_id[name] - by_text[name]) < 2e-3 for name in by_text)


def test_mean_and_minus_and_bottom_and_channels_are_linear(db):
    queries = ["The cat sleeps.", "A lock is held."]
    each = [{hit.id: hit.score for hit in ranking} for ranking in db.query(queries)]
    (mean,) = db.query(queries, pool="mean")
    for hit in mean:
        assert abs(hit.score - np.mean([scores[hit.id] for scores in each])) < 1e-12
    (less,) = db.query(queries[0], minus=queries[1])
    for hit in less:
        assert abs(hit.score - (each[0][hit.id] - each[1][hit.id])) < 1e-6  # each set is signed in a batch of its own
    (bottom,) = db.query(queries[0], bottom=True)
    assert [hit.id for hit in bottom] == [hit.id for hit in db.query(queries[0])[0]][::-1]
    rh, gh, both = (
        {hit.id: hit.score for hit in db.query(queries[0], normalize=False, lambda_rh=a, lambda_gh=b)[0]}
        for a, b in ((1, 0), (0, 1), (0.7, 1))
    )
    for name in both:
        assert abs(both[name] - (0.49 * rh[name] + gh[name])) < 1e-9


def test_where_keeps_to_the_records_that_say_so(db):
    (ranking,) = db.query("a lock", where={"source": "pets"})
    assert {hit.id for hit in ranking} == {"cat", "dog"}
    assert len(db.query("a lock", where="source=nothing")[0]) == 0


def test_k_beyond_the_pool_gives_the_whole_pool(db):
    assert len(db.query("cat", k=10_000)[0]) == 4


def test_empty_index_gives_an_empty_ranking(path, model):
    with risedb.open(path, model, create=True) as db:
        assert [len(ranking) for ranking in db.query(["a cat", "a dog"])] == [0, 0]
        assert db.verify(full=True) == []


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (BadRow("pool.jsonl:3", "not JSON"), "not JSON"),
        (Row("pool.jsonl:3", {"text": 5}), "text"),
        (Row("pool.jsonl:3", {"id": "cat", "text": "Another cat."}), "'cat' stands twice"),
    ],
)
def test_row_that_cannot_be_used_stops_or_is_listed(path, model, on_error, bad, reason):
    rows = [POOL[0], POOL[1], bad, POOL[2]]
    with risedb.open(path, model, create=True) as db:
        if on_error == "stop":
            with pytest.raises(InvalidInput, match=reason) as error:
                db.add(rows)
            assert "pool.jsonl:3" in str(error.value)
        else:
            report = db.add(rows, on_error="skip")
            assert report.added == 3
            ((skipped),) = report.skipped
            assert skipped.place == "pool.jsonl:3"
            assert reason in skipped.reason
            assert len(db) == 3


def test_documents_with_nothing_to_predict_are_skipped_and_told(path, model):
    with risedb.open(path, model, create=True) as db:
        report = db.add([{"id": "empty", "text": ""}, {"id": "one", "text": "a"}, {"id": "two", "text": "a cat"}])
        assert report.added == 1
        assert [skipped.reason[:20] for skipped in report.skipped] == ["no position to score"] * 2


def test_document_with_nan_logits_is_named_and_not_stored(path):
    broken = random_model("Llama")
    tokenizer = byte_tokenizer()
    with torch.no_grad():
        broken.get_input_embeddings().weight[tokenizer("Z")["input_ids"][0]] = float("nan")
    model = LanguageModel(broken, tokenizer)
    with risedb.open(path, model, create=True) as db:
        rows = [{"id": "good", "text": "abc"}, {"id": "bad", "text": "aZc"}]
        with pytest.raises(InvalidInput, match=r"NaN or infinite.*'bad'"):
            db.add(rows)
        report = db.add(rows, on_error="skip")
        assert len(db) == 1
        assert "'bad'" in report.skipped[0].reason
        with pytest.raises(InvalidInput, match="NaN or infinite"):
            db.query("aZc")


def test_loss_on_completion_counts_the_completion_only(path, model):
    fields = Fields(loss_on="completion")
    row = {"id": "a", "prompt": "The cat sleeps", "completion": "on the blanket."}
    with risedb.open(path, model, create=True, fields=fields) as db:
        db.add([row])
        completion_only = db.signatures(["a"])
    with risedb.open(path.with_name("all.rise"), model, create=True) as db:
        db.add([row])
        everything = db.signatures(["a"])
    assert completion_only.norms[0, 0] < everything.norms[0, 0]
    assert float(np.sum(completion_only.rh * everything.rh)) < 0.99


def test_truncation_is_counted_and_sum_reads_on(path, model):
    long = [{"id": "long", "text": "The cat sleeps on the blanket. " * 40}]
    readouts = {policy: ReadoutConfig(seq_len=64, long=policy) for policy in ("truncate", "sum")}
    norms = {}
    for policy, readout in readouts.items():
        with risedb.open(path.with_name(policy), model, create=True, readout=readout) as db:
            seen = []
            assert db.add(long, progress=seen.append).truncated == (policy == "truncate")
            assert (seen[-1].tokens == 64) == (policy == "truncate")  # what went through the model
            norms[policy] = db.signatures(["long"]).norms[0, 0]
    assert norms["sum"] > 2 * norms["truncate"]


def test_other_numbers_are_refused_by_name(db, path):
    with pytest.raises(IdentityMismatch, match=r"built with other numbers: tau: 1.0 in the index, 0.5 asked for"):
        risedb.open(path, readout=ReadoutConfig(tau=0.5))
    with pytest.raises(IdentityMismatch, match=r"kr: 128 in the index, 16 asked for"):
        risedb.open(path, sketch=SketchConfig.parse("compact"))
    empty = path.with_name("empty.rise")
    risedb.open(empty, db.featurizer.model, create=True).close()
    with pytest.raises(IdentityMismatch, match=r"\(and is empty: remove it to begin anew\): tau: 1.0"):
        risedb.open(empty, readout=ReadoutConfig(tau=0.5))


def test_fine_tuned_model_is_refused_though_its_head_and_configuration_are_the_same(db, path, tmp_path):
    tuned = tmp_path / "tuned"
    shutil.copytree(os.path.join(os.path.dirname(risedb.__file__), "featurize", "demo_model"), tuned)
    same = tmp_path / "same"
    shutil.copytree(tuned, same)
    weights = bytearray((tuned / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tuned / "model.safetensors").write_bytes(weights)
    with risedb.open(path, str(tuned)) as other, pytest.raises(IdentityMismatch, match="another model: model: "):
        other.query("cat")
    with risedb.open(path, str(same), load=LoadConfig(dtype="bfloat16")) as moved:  # neither path nor dtype counts
        assert moved.query("The cat sleeps on the blanket.", k=1)[0][0].id == "cat"


def test_other_tokenizer_is_refused(db, path, model):
    other = LanguageModel(model._model, byte_tokenizer(), fingerprint=model.fingerprint)
    with risedb.open(path, other) as db, pytest.raises(IdentityMismatch, match="tokenizer: "):
        db.query("cat")


def test_index_remembers_its_model_and_says_when_it_has_moved(tmp_path, path):
    folder = tmp_path / "model"
    shutil.copytree(os.path.join(os.path.dirname(risedb.__file__), "featurize", "demo_model"), folder)
    with risedb.open(path, str(folder), create=True) as db:
        db.add(POOL)
    with risedb.open(path) as db:
        assert db.query("cat", k=1)
    folder.rename(tmp_path / "moved")
    with risedb.open(path) as db, pytest.raises(NotFound, match=r"Say where it lies now with --model"):
        db.query("cat")
    with risedb.open(path, str(tmp_path / "moved")) as db:
        assert db.query("cat", k=1)


def test_fields_that_a_later_version_remembers_are_named(path, model):
    created = risedb.open(path, model, create=True)
    created._store.settings["fields"]["title"] = "headline"
    with pytest.raises(InvalidInput, match="'title' is no setting of fields"):
        _ = created.fields
    created.close()


def test_open_says_what_is_missing(tmp_path):
    with pytest.raises(NotFound, match="there is no index at"):
        risedb.open(tmp_path / "none.rise")
    with pytest.raises(InvalidInput, match="needs a model"):
        risedb.open(tmp_path / "none.rise", create=True)
    with pytest.raises(NotFound, match="no model folder"):
        risedb.open(tmp_path / "none.rise", str(tmp_path / "no-model"), create=True)
    assert not (tmp_path / "none.rise").exists()


@pytest.mark.parametrize(
    "choice",
    [
        {"k": 0},
        {"lambda_rh": -1},
        {"lambda_rh": 0, "lambda_gh": 0},
        {"pool": "all"},
        {"memory_bytes": 2**19},
        {"memory_bytes": float("inf")},
        {"memory_bytes": "64MiB"},
    ],
    ids=str,
)
def test_choice_out_of_range_is_refused_by_name(db, choice):
    with pytest.raises(InvalidInput, match=next(iter(choice))):
        db.query("cat", **choice)


def test_queries_that_cannot_be_used_are_named(db):
    with pytest.raises(InvalidInput, match="query-2: no position to score"):
        db.query(["a cat", ""])
    with pytest.raises(InvalidInput, match="there is no query"):
        db.query([])
    with pytest.raises(InvalidInput, match="query-2: a number \\(3\\), not a text"):
        db.query(["a cat", 3])
    with pytest.raises(NotFound, match="'nobody'"):
        db.signatures(["nobody"])
    with pytest.raises(IdentityMismatch, match=r"\(4, 4\) numbers in RH and GH, and those of .* have \(3072, 3072\)"):
        db.query(risedb.Signatures.from_phi(["a"], np.ones((1, 4)), np.ones((1, 4))))


def test_queries_that_are_no_documents_load_no_model(db, path):
    with risedb.open(path) as other:  # which would have to load what it has no name for
        for queries in ([], ["a cat", 3], [{"body": "a cat"}]):
            with pytest.raises(InvalidInput, match=r"there is no query|query-2: a number|no field 'text'"):
                other.query(queries)


def test_one_id_is_that_id_and_no_id_is_no_row(db):
    assert db.signatures("cat").ids == ("cat",)
    assert db.signatures([]).rh.shape == (0, db.identity.sketch.rh_dim)
    assert db.delete("cat") == ["cat"]
    assert len(db) == 3


@pytest.mark.parametrize(
    ("rows", "choices", "message"),
    [
        ("pool.jsonl", {}, r"rows is one str; give a list of rows, or risedb.corpus.read\(FILE\)"),
        ({"id": "a", "text": "one row"}, {}, "rows is one dict"),
        ([3], {}, r"row 1: a number \(3\), not a text, a mapping or a Row"),
        (["some text"], {"on_error": "ignore"}, "on_error is 'ignore'"),
    ],
)
def test_what_is_no_list_of_rows_is_not_taken_for_one(db, rows, choices, message):
    with pytest.raises(InvalidInput, match=message):
        db.add(rows, **choices)
    assert len(db) == len(POOL)


def test_second_writer_is_told_who_writes_and_readers_go_on(db, path):
    code = """
        import sys, risedb
        with risedb.open(sys.argv[1]) as db:
            print(len(db.query(db.signatures(["cat"]))[0]))
            try:
                db.add(["another text"])
            except risedb.errors.Busy as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("4\n")
    assert f"process {os.getpid()} " in done.stdout
    assert Busy.__name__ not in done.stderr


def test_bulk_add_seals_and_stays_in_input_order(path, model):
    rows = [{"id": f"d{i}", "text": f"{'word ' * (i % 7 + 1)}{i}"} for i in range(1100)]
    with risedb.open(path, model, create=True, sketch=SketchConfig.parse("compact")) as db:
        seen = []
        report = db.add(rows, commit_every=300, progress=lambda progress: seen.append(progress))
        assert report.added == 1100
        assert db.info()["segments"] == 1
        assert db.info()["tail_rows"] == 0
        sequences = np.concatenate([block.sequence for block in db._store.snapshot().blocks()])
        assert [name for name, _ in db._store.records(sequences.tolist())] == [row["id"] for row in rows]
        assert [progress.documents for progress in seen] == [300, 600, 900, 1100, 1100]  # windows, then the end
        assert [commit.added for commit in db.commits()][::-1] == [300, 300, 300, 200]
        committed = [progress.committed for progress in seen]
        assert committed == sorted(committed)
        assert committed[-1] == 1100
        assert db.verify(full=True) == []


ADDER = """
    import signal, sys, risedb
    from tests.database.test_index import long_pool

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it

    def progress(state):
        print(state.committed, flush=True)
        if state.committed:
            sys.stdin.read()  # until the signal

    with risedb.open(sys.argv[1], "demo", create=True, sketch=risedb.SketchConfig.parse("compact")) as db:
        db.add(long_pool(), commit_every=64, progress=progress)
"""


def long_pool():
    rows = itertools.islice(read_python_docs(), 600)
    return [{"id": row.values["id"], "text": row.values["text"][:120]} for row in rows]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_add_that_was_stopped_goes_on_where_it_was(path, model, how):
    code = textwrap.dedent(ADDER)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes, text=True) as adder:
        for line in adder.stdout:
            if int(line) > 0:
                told = int(line)
                adder.send_signal(how)
                break
        adder.communicate()
    assert adder.returncode != 0
    with risedb.open(path, model) as db:
        kept = len(db)
        assert told <= kept < 600
        report = db.add(long_pool())
        assert (report.unchanged, report.added) == (kept, 600 - kept)
        assert db.verify(full=True) == []


def test_float32_store_gives_the_signature_of_the_featurizer_bit_for_bit(path, model):
    with risedb.open(path, model, create=True, store=StoreConfig(dtype="float32")) as db:
        db.add(POOL[:1])
        fresh, stored = db.sign(POOL[:1]), db.signatures(["cat"])  # both alone: a batch shows in bfloat16
        for name in ("rh", "gh", "norms"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(fresh, name))


def test_info_is_json_with_the_whole_identity(db):
    about = json.loads(json.dumps(db.info()))
    assert about["rows"] == 4
    assert about["bytes"] > 0
    expected = {
        "tau",
        "rho_cum",
        "min_keep",
        "k_max",
        "seq_len",
        "long",
        "factor_norm",
        "gh_through",
        "kr",
        "kh",
        "kg",
        "seed",
        "model",
        "tokenizer",
        "hash_version",
    }
    assert about["identity"].keys() == expected
