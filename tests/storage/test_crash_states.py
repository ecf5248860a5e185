"""What a power cut may leave; ``python -m tools.crash states`` checks every state."""

import json

import pytest

from tests.storage.test_kill import crash, in_a_process, needs_strace


@needs_strace
@pytest.mark.parametrize("seed", [0, 1])
def test_a_power_cut_after_any_call_loses_nothing_acknowledged_and_leaves_nothing_torn(seed):
    """Bytes and names that were not synced are left old, new, empty, zeroed, torn or mixed."""
    result = crash("states", "--seeds", seed, "--operations", 12, "--most", 60)
    assert result["failures"] == []
    assert result["checked"] == 60


@needs_strace
@pytest.mark.parametrize("seed", [0, 1])
def test_the_replayed_trace_is_what_lies_on_the_disk(seed):
    differ = in_a_process(
        """
        import json, random, sys
        from tools.crash.kill import Bench
        from tools.crash.states import Replay

        with Bench(int(sys.argv[1]), 10) as bench:
            calls = bench.calls()
            replay = Replay(bench.base, bench.work)
            assert sum(map(replay.apply, calls)) > 200
            replayed = replay.left("whole", "new", random.Random(0))
            there = {
                str(path.relative_to(bench.work)): None if path.is_dir() else path.read_bytes()
                for path in bench.work.rglob("*")
            }
            print(json.dumps([name for name in there | replayed if there.get(name, 0) != replayed.get(name, 0)]))
        """,
        seed,
    )
    assert {name.rsplit("/")[-1] for name in json.loads(differ)} == {"lock.mdb"}  # written through a map
