"""Every verb as a person runs it: real model, real files; what it prints, and how it exits."""

import errno
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer

import risedb
from risedb.cli import app, main

POOL = [
    {"id": "cat", "text": "The cat sleeps on the blanket.", "source": "pets"},
    {"id": "lock", "text": "Acquire the lock, blocking or non-blocking, and release it.", "source": "threads"},
    {"id": "evil", "text": "[bold]not markup[/bold] \x1b[31mnot red\x1b[0m\nnot a line of its own", "source": "pets"},
]


@dataclass
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def risedb_cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["risedb", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Run(code, captured.out, captured.err)

    return run


def write(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def pool(tmp_path):
    return write(tmp_path / "pool.jsonl", POOL)


@pytest.fixture
def index(risedb_cli, pool):
    assert risedb_cli("add", "pool.rise", pool, "--model", "demo", "--preset", "compact").code == 0
    return "pool.rise"


def test_add_reports_to_people_on_stderr_and_to_programs_as_json(risedb_cli, pool):
    first = risedb_cli("add", "pool.rise", pool, "--model", "demo")
    assert (first.code, first.out) == (0, "")
    assert "3 added; 3 documents in the index" in first.err
    again = risedb_cli("add", "pool.rise", pool, "--json")
    assert json.loads(again.out) == {
        "added": 0, "unchanged": 3, "updated": 0, "truncated": 0, "skipped": [], "rows": 3, "seconds": None,
    }  # fmt: skip


def test_query_prints_a_table_that_no_document_can_forge(risedb_cli, index):
    done = risedb_cli("query", index, "--text", "The cat is sleeping on the blanket.")
    lines = done.out.splitlines()
    assert lines[0] == "query-1: The cat is sleeping on the blanket."
    assert len(lines) == 5  # the query, three hits, an empty line
    assert lines[1].split()[:3:2] == ["1", "cat"]
    assert "\x1b" not in done.out
    assert "[bold]not markup[/bold]  [31mnot red [0m not a line of its own".replace("  ", " ") in done.out


def test_query_json_is_a_list_with_an_object_for_each_query(risedb_cli, index, tmp_path):
    queries = write(tmp_path / "queries.jsonl", [{"id": "q1", "text": "a cat"}, {"text": "a lock"}])
    done = risedb_cli("query", index, queries, "--text", "a blanket", "-k", 2, "--json")
    results = json.loads(done.out)
    assert [result["query"] for result in results] == ["query-1", "q1", f"{queries}:2"]
    assert all([hit["rank"] for hit in result["hits"]] == [1, 2] for result in results)
    assert results[0]["hits"][0].keys() == {"rank", "id", "score", "record"}
    assert results[0]["hits"][0]["record"] in POOL


def test_query_jsonl_has_a_line_for_each_and_fields_leave_records_out(risedb_cli, index, tmp_path):
    done = risedb_cli(
        "query", index, "--id", "cat", "--id", "lock", "--jsonl", "--fields", "id,source", "--out", "hits.jsonl"
    )
    assert (done.code, done.out) == (0, "")
    lines = [json.loads(line) for line in (tmp_path / "hits.jsonl").read_text().splitlines()]
    assert [line["query"] for line in lines] == ["cat", "lock"]
    assert lines[0]["hits"][0]["record"] == {"id": "cat", "source": "pets"}


def test_query_choices_reach_the_scan(risedb_cli, index, tmp_path):
    write(tmp_path / "junk.jsonl", [{"text": POOL[1]["text"]}])
    best, worst, lexical, pets, less, raw, mean = (
        json.loads(risedb_cli("query", index, *arguments, "--json").out)[0]
        for arguments in (
            ["--id", "cat"],
            ["--id", "cat", "--bottom"],
            ["--id", "cat", "--channel", "rh"],
            ["--id", "cat", "--where", "source=pets"],
            ["--id", "cat", "--minus", "junk.jsonl"],
            ["--id", "cat", "--no-normalize"],
            ["--id", "cat", "--id", "lock", "--mean"],
        )
    )
    scores = {hit["id"]: hit["score"] for hit in best["hits"]}
    assert [hit["id"] for hit in worst["hits"]] == [hit["id"] for hit in best["hits"]][::-1]
    assert {hit["id"]: hit["score"] for hit in lexical["hits"]} != scores
    assert {hit["id"] for hit in pets["hits"]} == {"cat", "evil"}
    assert {hit["id"]: hit["score"] for hit in less["hits"]}["lock"] < scores["lock"]
    assert raw["hits"][0]["score"] > 1.5
    assert mean["query"] == "mean of 2"


def test_scores_are_those_of_a_query_and_name_their_documents_and_queries(risedb_cli, index, tmp_path):
    queries = write(tmp_path / "queries.jsonl", [{"id": "q1", "text": "a cat"}])
    write(tmp_path / "junk.jsonl", [{"text": POOL[1]["text"]}])
    asked = [queries, "--id", "lock", "--text", "a blanket"]
    for choices, columns in (
        ([], ["lock", "query-1", "q1"]),
        (["--mean"], ["mean of 3"]),
        (["--where", "source=pets", "--channel", "rh", "--center"], ["lock", "query-1", "q1"]),
        (["--lambda-gh", 3, "--minus", "junk.jsonl", "--at", 1, "--no-normalize"], ["lock", "query-1", "q1"]),
    ):
        rankings = json.loads(risedb_cli("query", index, *asked, *choices, "--json").out)
        expected = {
            hit["id"]: [{hit["id"]: hit["score"] for hit in one["hits"]}[hit["id"]] for one in rankings]
            for hit in rankings[0]["hits"]
        }
        lines = [json.loads(line) for line in risedb_cli("scores", index, *asked, *choices).out.splitlines()]
        assert {line["id"]: line["scores"] for line in lines} == expected
        assert [line["id"] for line in lines] == [row["id"] for row in POOL if row["id"] in expected]
        done = risedb_cli("scores", index, *asked, *choices, "--out", "all.npy")
        assert (done.out, done.err) == ("", f"{len(expected)} x {len(columns)} scores written to all.npy\n")
        names = json.loads((tmp_path / "all.ids.json").read_text())
        assert names == {"queries": columns, "documents": [line["id"] for line in lines]}
        assert np.load("all.npy").tolist() == [line["scores"] for line in lines]


def test_info_and_verify_tell_people_and_programs(risedb_cli, index):
    about = json.loads(risedb_cli("info", index, "--json").out)
    assert about["rows"] == 3
    assert about["identity"]["kr"] == 16
    assert "16/8/28" in risedb_cli("info", index).out
    assert "is sound" in risedb_cli("verify", index, "--full").out
    assert json.loads(risedb_cli("verify", index, "--json").out) == {"sound": True, "findings": []}


def test_verify_exits_1_and_names_the_damage(risedb_cli, index, tmp_path):
    data = tmp_path / index / "catalog" / "data.mdb"
    data.write_bytes(data.read_bytes()[:8192])
    done = risedb_cli("verify", index)
    assert done.code == 1
    assert "data.mdb is cut short" in done.out
    queried = risedb_cli("query", index, "--id", "cat")
    assert queried.code == 1
    assert "data.mdb is cut short" in queried.err


def test_numbers_given_again_must_be_the_index_s_own(risedb_cli, index, pool):
    assert risedb_cli("add", index, pool, "--preset", "compact", "--tau", 1.0).code == 0
    done = risedb_cli("add", index, pool, "--tau", 0.5, "--dims", "8/8/8")
    assert done.code == 2
    assert "tau: 1.0 in the index, 0.5 asked for" in done.err
    assert "kr: 16 in the index, 8 asked for" in done.err


def test_choices_of_the_factors_are_remembered_shown_and_refused_by_name(risedb_cli, pool):
    choices = ["--factor-norm", "none", "--gh-through", "input-embeddings"]
    assert risedb_cli("add", "raw.rise", pool, "--model", "demo", *choices).code == 0
    assert "factor_norm none, gh_through input-embeddings" in risedb_cli("info", "raw.rise").out
    assert risedb_cli("add", "raw.rise", pool).code == 0
    done = risedb_cli("add", "raw.rise", pool, "--factor-norm", "unit")
    assert (done.code, "factor_norm: none in the index, unit asked for" in done.err) == (2, True)


def test_template_and_fields_are_remembered(risedb_cli, tmp_path):
    rows = write(tmp_path / "qa.jsonl", [{"key": "a", "q": "Why?", "a": "Because of the lock."}])
    names = ["--id-field", "key", "--prompt-field", "q", "--completion-field", "a"]
    template = ["--template", r"Q: {prompt}\nA: {completion}", "--loss-on", "completion"]
    assert risedb_cli("add", "qa.rise", rows, "--model", "demo", *names, *template).code == 0
    assert risedb_cli("query", "qa.rise", "--text", "Why is there a lock?").code == 0  # all of a bare text counts
    done = risedb_cli("query", "qa.rise", rows, "--json")
    (hit,) = json.loads(done.out)[0]["hits"]
    assert hit["id"] == "a"
    assert hit["score"] > 0.999
    assert "Q: Why? A: Because of the lock." in risedb_cli("query", "qa.rise", rows).out


BAD_FILES = {
    "empty.jsonl": ("", "empty.jsonl holds no rows"),
    "broken.jsonl": ('{"text": "a cat"}\n{"text": \n', "broken.jsonl:2: "),
    "number.jsonl": ('{"text": 3}\n', "field 'text' is a number (3)"),
    "nofield.jsonl": ('{"body": "a cat"}\n', "--text-field"),
    "twice.jsonl": (
        '{"id": "a", "text": "a cat"}\n{"id": "a", "text": "a dog"}\n',
        "twice.jsonl:2: the id 'a' stands twice",
    ),
    "pool.doc": ("x", "pool.doc is of no kind that is read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_one_line_that_names_the_place(risedb_cli, tmp_path, name):
    content, message = BAD_FILES[name]
    (tmp_path / name).write_text(content)
    done = risedb_cli("add", "pool.rise", name, "--model", "demo")
    assert done.code == 2
    assert done.out == ""
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert (tmp_path / "pool.rise").exists() == (":2:" in message)  # what is wrong at once leaves no index behind


def test_on_error_skip_lists_what_was_skipped(risedb_cli, tmp_path):
    rows = write(tmp_path / "some.jsonl", [POOL[0], "{broken\n", {"id": "x", "text": ""}, POOL[1]])
    done = risedb_cli("add", "pool.rise", rows, "--model", "demo", "--on-error", "skip", "--json")
    report = json.loads(done.out)
    assert report["added"] == 2
    assert [skipped["place"] for skipped in report["skipped"]] == [f"{rows}:2", f"{rows}:3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "nowhere.rise", "--id", "a"], "there is no index at nowhere.rise"),
        (["query", ".", "--id", "a"], "not a RiseDB index"),
        (["info", "nowhere.rise"], "there is no index at"),
        (["verify", "nowhere.rise"], "there is no index at"),
        (["add", "new.rise", "missing.jsonl", "--model", "demo"], "missing.jsonl does not exist"),
        (["add", "new.rise", "pool.jsonl"], "a new index needs a model"),
        (["add", "new.rise", "pool.jsonl", "--model", "./none"], "there is no model folder ./none"),
        (["add", "new.rise", "pool.jsonl", "--model", "demo", "--dims", "1x2"], "neither Kr/Kh/Kg"),
        (
            ["add", "new.rise", "pool.jsonl", "--model", "demo", "--dims", "8/8/8", "--preset", "base"],
            "use one of them",
        ),
        (["add", "new.rise", "pool.jsonl", "--model", "demo", "--rho", "1.5"], "rho_cum is 1.5"),
        (["add", "new.rise", "pool.jsonl", "--model", "demo", "--device", "cuda:9"], "no device 'cuda:9'"),
        (["add", "new.rise", "pool.jsonl", "--model", "demo", "--dims", "9999/9999/1"], "at most 1,048,576"),
        (["add", "new.rise", "pool.jsonl", "--model", "demo", "--seq-len", "4096"], "give --seq-len 512 or less"),
        (["query", "pool.rise", "--id", "\udcff"], "is no text"),
        (["query", "pool.rise"], "there is no query"),
        (["query", "pool.rise", "--id", "nobody"], "'nobody'"),
        (["query", "pool.rise", "--text", ""], "query-1: no position to score"),
        (["query", "pool.rise", "--id", "cat", "--where", "source"], "is not field=value"),
        (["query", "pool.rise", "--id", "cat", "--json", "--jsonl"], "use one of them"),
        (["query", "pool.rise", "--id", "cat", "--fields", "source"], "--fields chooses what --json and --jsonl write"),
        (["query", "pool.rise", "--id", "cat", "--memory", "9" * 400], "is not a number of bytes"),
        (["query", "pool.rise", "--id", "cat", "--memory", "1KiB"], "at least 1 MiB"),
        (["query", "pool.rise", "--id", "cat", "--at", 2**70], f"there is no commit {2**70}; the newest is 1"),
        (["query", "pool.rise", "--id", "cat", "--at", -1], "there is no commit -1; the newest is 1"),
        (["query", "pool.rise", "--id", "cat", "--out", "no/such/folder.json"], "cannot be written"),
        (["repair", "nowhere.rise"], "there is no index at nowhere.rise"),
        (["repair", "."], "not a RiseDB index"),
        (["repair", "pool.jsonl"], "not a RiseDB index"),
        (["add", "new.rise", "pool.jsonl", "--model", "demo", "--commit-every", "0"], "commit_every is '0'"),
        (["add", "new.rise", "pool.jsonl", "--model", "demo", "--commit-every", "9" * 400], "commit_every is '999"),
        (["add", "new.rise", "bad\x1b[31m.txt", "--model", "demo"], "bad [31m.txt does not exist"),
        (["scores", "pool.rise"], "there is no query"),
        (["scores", "pool.rise", "--id", "cat", "--out", "no/such/all.npy"], "no/such/all.npy cannot be written"),
        (["scores", "pool.rise", "--id", "cat", "--out", "no/such/all.jsonl"], "no/such/all.jsonl cannot be written"),
    ],
)
def test_mistake_is_one_line_on_stderr_and_exit_2(risedb_cli, index, tmp_path, arguments, message):
    before = sorted(tmp_path.iterdir())
    done = risedb_cli(*arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_empty_index_is_queried_with_an_empty_result(risedb_cli, tmp_path):
    risedb.open(tmp_path / "empty.rise", "demo", create=True).close()
    done = risedb_cli("query", "empty.rise", "--text", "a cat", "--json")
    assert done.code == 0
    assert json.loads(done.out) == [{"query": "query-1", "hits": []}]
    assert risedb_cli("scores", "empty.rise", "--text", "a cat", "--out", "all.npy").code == 0
    assert np.load(tmp_path / "all.npy").shape == (0, 1)


def test_full_disk_is_one_line_and_leaves_older_files_alone(risedb_cli, index, tmp_path, monkeypatch):
    from risedb.database import querying

    done = risedb_cli("query", index, "--id", "cat", "--out", "/dev/full")
    assert (done.code, done.err) == (1, "risedb: /dev/full cannot be written: No space left on device\n")
    verb = [sys.executable, "-m", "risedb", "log", tmp_path / index]
    with open("/dev/full", "w") as full:
        done = subprocess.run(verb, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "risedb: stdout cannot be written: No space left on device\n")

    assert risedb_cli("scores", index, "--id", "cat", "--out", "all.npy").code == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("*all*")}

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(querying, "_write_header", no_space)
    done = risedb_cli("scores", index, "--id", "lock", "--out", "all.npy")
    assert (done.code, done.err) == (1, "risedb: all.npy cannot be written: No space left on device\n")
    assert {path: path.read_bytes() for path in tmp_path.glob("*all*")} == before
    assert len(before) == 2


def test_every_verb_and_option_has_help():
    verbs = typer.main.get_command(app).commands
    assert len(verbs) == len(app.registered_commands)
    for verb, command in verbs.items():
        assert command.help, verb
        for parameter in command.params:
            assert parameter.help, (verb, parameter.name)
    shown = subprocess.run([sys.executable, "-m", "risedb", "query", "-h"], capture_output=True, text=True, check=True)
    assert "Usage: python -m risedb" in shown.stdout
    assert shown.stderr == ""


def test_interrupted_add_says_what_stays(risedb_cli, pool, monkeypatch):
    from risedb.database.writing import Writing

    commit = Writing.commit

    def commit_and_interrupt(self):
        commit(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Writing, "commit", commit_and_interrupt)
    done = risedb_cli("add", "pool.rise", pool, "--model", "demo", "--commit-every", 2)
    assert done.code == 130
    assert "2 new documents were committed and stay, 2 are in the index" in done.err
    monkeypatch.undo()


def test_batch_tokens_are_a_number_or_auto(risedb_cli, index):
    assert risedb_cli("query", index, "--text", "A cat.", "--batch-tokens", "auto").code == 0
    none = risedb_cli("query", index, "--text", "A cat.", "--batch-tokens", "0")
    assert none.code == 2
    assert "Invalid value for '--batch-tokens': '0' is no number of at least 1, nor auto" in none.err


def test_delete_tells_what_went_and_what_was_not_there(risedb_cli, index, tmp_path):
    (tmp_path / "ids.txt").write_text("lock\nnobody\n")
    preview = risedb_cli("delete", index, "--ids", "ids.txt", "--dry-run")
    assert (preview.code, preview.out) == (0, "")
    assert preview.err == (
        "1 would be deleted; 3 documents in the index\n  lock\n1 of the ids are not in the index:\n  nobody\n"
    )
    assert "1 deleted; 2 documents in the index" in risedb_cli("delete", index, "--ids", "ids.txt").err
    done = risedb_cli("delete", index, "--where", "source = pets", "--id", "x", "--json")
    assert json.loads(done.out) == {"deleted": ["cat", "evil"], "unknown": ["x"], "rows": 0, "dry_run": False}
    nothing = risedb_cli("delete", index)
    assert (nothing.code, nothing.err) == (
        2, "risedb: nothing says what to delete; give --id, --ids or --where\n",
    )  # fmt: skip
    assert risedb_cli("delete", index, "--where", "source ~ pets").code == 2
    assert risedb_cli("delete", index, "--ids", "nowhere.txt").code == 2


def test_log_compact_and_at_tell_one_story(risedb_cli, index):
    risedb_cli("delete", index, "--id", "lock")
    lines = risedb_cli("log", index).out.splitlines()
    assert [line.split()[0] for line in lines] == ["2", "1"]
    assert "2 documents" in lines[0]
    assert "lock" in risedb_cli("query", index, "--id", "cat", "--at", 1).out
    assert "lock" not in risedb_cli("query", index, "--id", "cat").out
    preview = json.loads(risedb_cli("compact", index, "--dry-run", "--json").out)
    done = json.loads(risedb_cli("compact", index, "--json").out)
    for told in (preview, done):  # the tail is no segment before, whether or not it is sealed on the way
        assert (told["segments_before"], told["segments_after"], told["removed"]) == (0, 1, 1)
    past = risedb_cli("query", index, "--id", "cat", "--at", 1)
    assert past.code == 2
    assert "was compacted away; the oldest that can be read is 3" in past.err
    assert [one["what"] for one in json.loads(risedb_cli("log", index, "--json").out)] == ["compact"]


def test_export_backup_and_repair_report_and_refuse_politely(risedb_cli, index, tmp_path):
    assert "3 documents written to pool.parquet" in risedb_cli("export", index, "pool.parquet").err
    assert json.loads(risedb_cli("export", index, "cats.jsonl", "--where", "id=cat", "--json").out)["rows"] == 1
    again = risedb_cli("export", index, "pool.parquet")
    assert (again.code, again.err) == (2, "risedb: pool.parquet is there already; choose another name\n")
    assert "copy.rise has the 3 documents of commit 1" in risedb_cli("backup", index, "copy.rise").err
    assert risedb_cli("backup", index, "copy.rise").code == 2
    assert risedb_cli("repair", "copy.rise").out == "copy.rise is sound; nothing was done\n"
    (tmp_path / "copy.rise/catalog/data.mdb").write_bytes(b"")
    told = risedb_cli("query", "copy.rise", "--id", "cat")
    assert told.code == 1
    assert "data.mdb" in told.err
    repaired = risedb_cli("repair", "copy.rise")
    assert repaired.code == 1  # the tail is lost, and it says so
    assert "lost: the catalog cannot be read" in repaired.err
    assert risedb_cli("verify", "copy.rise", "--full").code == 0


def test_centre_and_memory_are_choices_of_a_query(risedb_cli, index):
    plain, centred = (
        json.loads(risedb_cli("query", index, "--id", "cat", "--json", "--memory", "64MiB", *more).out)
        for more in ([], ["--center"])
    )
    assert centred[0]["hits"][0]["id"] == "cat"
    assert centred[0]["hits"][1]["score"] < plain[0]["hits"][1]["score"]
    for size in ("much", "1KiB"):
        assert risedb_cli("query", index, "--id", "cat", "--memory", size).code == 2


def test_checkpoints_are_added_queried_and_checked_as_one_index(risedb_cli, pool, tmp_path):
    later = shutil.copytree(Path(risedb.__file__).parent / "featurize" / "demo_model", tmp_path / "later")
    config = json.loads((later / "config.json").read_text())
    (later / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.1}))
    models = ("--model", "demo", "--model", later)
    wrong = risedb_cli("add", "run.rise", pool, *models, "--checkpoint-weights", "1,x")
    assert (wrong.code, "'1,x' are not numbers between commas" in wrong.err) == (2, True)
    added = risedb_cli("add", "run.rise", pool, *models, "--preset", "compact", "--checkpoint-weights", "1,0.5")
    assert (added.code, "3 added; 3 documents in the index" in added.err) == (0, True)
    assert "3 unchanged" in risedb_cli("add", "run.rise", pool).err
    scores = [
        {hit["id"]: hit["score"] for hit in json.loads(run.out)[0]["hits"]}
        for weights in ("1,0", "0,1", "1,0.5")
        for run in [risedb_cli("query", "run.rise", "--id", "cat", "--json", "--checkpoint-weights", weights)]
    ]
    assert scores[0] != scores[1]
    assert scores[2] == {name: scores[0][name] + 0.5 * scores[1][name] for name in scores[0]}
    assert len(risedb_cli("query", "run.rise", pool, "--mean").out.splitlines()) == 5
    about = risedb_cli("info", "run.rise").out
    assert "3, which all checkpoints have" in about
    assert about.count("\nweight ") == 2
    assert risedb_cli("verify", "run.rise", "--full").code == 0
    assert "1 deleted; 2 documents" in risedb_cli("delete", "run.rise", "--id", "cat").err
    for verb in ("log", "repair", "backup", "export"):
        refused = risedb_cli(verb, "run.rise", *(["x.parquet"] if verb in {"backup", "export"} else []))
        assert (refused.code, "run.rise/1" in refused.err) == (2, True)


def test_plan_prints_a_line_for_each_preset_or_json(risedb_cli, pool):
    done = risedb_cli("plan", pool, "--model", "demo", "--seconds", "0.1")
    assert (done.code, "3 rows, all of them; " in done.out) == (0, True)
    shown = [line.split()[0] for line in done.out.splitlines() if line.split()]
    assert [word for word in shown if word in {"compact", "small", "base", "large"}] == [
        "compact",
        "small",
        "base",
        "large",
    ]
    about = json.loads(risedb_cli("plan", pool, "--model", "demo", "--seconds", "0.1", "--sample", "2", "--json").out)
    assert (about["rows"], about["sampled"], len(about["presets"])) == (3, 2, 4)
    missing = risedb_cli("plan", "nowhere.jsonl", "--model", "demo")
    assert (missing.code, "nowhere.jsonl" in missing.err) == (2, True)
