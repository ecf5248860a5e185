"""Readers beside a writer; ``python -m tools.crash load`` keeps it up for ten minutes."""

from tests.storage.test_kill import crash


def test_no_reader_beside_a_writer_sees_a_torn_or_vanished_row():
    result = crash("load", "--seconds", 4, "--readers", 3)
    assert result["failures"] == []
    assert result["changes"] > 2  # in four seconds, on a machine that may be busy
    assert result["snapshots"] > 2
