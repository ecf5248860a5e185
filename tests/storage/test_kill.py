"""Kills of real writers; ``python -m tools.crash kill`` makes a thousand more."""

import dataclasses
import json
import subprocess
import sys
import textwrap

import pytest

from tools.crash import process
from tools.crash.check import problems
from tools.crash.workload import create, rows

NO_STRACE = process.why_not()
needs_strace = pytest.mark.skipif(NO_STRACE is not None, reason=str(NO_STRACE))


def crash(verb, *options):
    """Run the tool in a process of its own, since it forks; return what it found."""
    return json.loads(python("-m", "tools.crash", verb, *options))


def in_a_process(code, *arguments):
    return python("-c", textwrap.dedent(code), *arguments)


def python(*arguments):
    command = [sys.executable, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.stdout, ended.stderr
    return ended.stdout


@needs_strace
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_kill_at_any_call_loses_nothing_acknowledged_and_leaves_nothing_torn(seed):
    """Seed 0 kills the making of an index too, seed 1 a recovery."""
    result = crash("kill", "--seeds", seed, "--operations", 12, "--most", 33, "--random", 0)
    assert result["failures"] == []
    assert result["kills"] == 33
    assert {"openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "mkdir"} <= set(result["calls"])


def test_a_kill_at_any_time_loses_nothing_acknowledged_and_leaves_nothing_torn():
    result = crash("kill", "--seeds", 3, "--operations", 12, "--most", 0, "--random", 20)
    assert result["failures"] == []
    assert result["kills"] > 5  # the others came when the writer had ended


def test_the_check_tells_a_lost_a_revived_a_stale_and_a_misplaced_row(tmp_path):
    def index(name):
        store = create(tmp_path / name)
        store.lock()
        store.append(rows(["a", "b"], 1))
        store.append(rows(["a"], 2))
        store.close()
        return tmp_path / name

    assert problems(index("sound"), [{"b": 1, "a": 2}]) == []
    assert problems(index("in flight"), [{"b": 1}, {"b": 1, "a": 2}]) == []
    assert "lacks ['c']" in problems(index("lost"), [{"b": 1, "a": 2, "c": 1}])[0]
    assert "has ['a'] too" in problems(index("revived"), [{"b": 1}])[0]
    assert "other versions of ['a']" in problems(index("stale"), [{"b": 1, "a": 1}])[0]
    assert "a reader sees" in problems(index("misplaced"), [{"a": 2, "b": 1}])[0]


def test_the_check_tells_another_row_s_numbers(tmp_path):
    store = create(tmp_path / "pool.rise")
    store.lock()
    right, other = rows(["a"], 1), rows(["b"], 1)
    mixed = dataclasses.replace(right.signatures, gh=other.signatures.gh)
    store.append(dataclasses.replace(right, signatures=mixed))
    store.close()
    assert problems(tmp_path / "pool.rise", [{"a": 1}])[0] == "gh of 'a' is not what was written"


def test_an_index_that_is_not_there_is_told_unless_its_making_was_in_flight(tmp_path):
    assert problems(tmp_path / "a", [None, {}]) == []
    assert "there is no index" in problems(tmp_path / "b", [{}])[0]
