"""Damage to each file of an index, one at a time: it is named or changes nothing; never a wrong hit, hang or signal."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest


def damaged(folder, *arguments):
    told = subprocess.run(
        [sys.executable, "-m", "tests.storage.damage", str(folder), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Every eighth damage, of a kind that changes from file to file; and more flips in the pages of the catalog."""
    folders = [tmp_path_factory.mktemp("damage") for _ in range(2)]
    return damaged(folders[0], "1", "0", "5/8") + damaged(folders[1], "20", "0", "catalog/data.mdb")


def names(cases):
    return [f"{case['kind']} {case['place']} {case.get('with', '')}" for case in cases]


def test_no_damage_ends_in_a_signal_a_hang_or_an_error_that_is_not_risedb_s(cases):
    assert names(case for case in cases if "signal" in case or "bug" in case) == []


def test_no_damage_changes_an_answer(cases):
    assert "same" in {case.get("read") for case in cases}
    assert names(case for case in cases if case.get("read") == "wrong") == []


def test_no_damage_breaks_a_promise_of_verify_or_repair(cases):
    assert {name: case["broken"] for case, name in zip(cases, names(cases), strict=True) if case["broken"]} == {}


def test_every_kind_of_file_and_of_damage_is_tried(cases):
    kinds = Counter(case["kind"].split()[0] for case in cases)
    assert set(kinds) == {"flip", "random", "cut", "empty", "longer", "all", "missing", "swapped"}
    places = {case["place"] for case in cases}
    for part in ("FORMAT", "catalog/data.mdb", "deletions/", "readers/", "segment.json", "columns.arrow", "zarr.json"):
        assert any(part in place for place in places), part
    arrays = {place.split("/")[2] for place in places if place.startswith("segments/") and "/c/" in place}
    assert arrays >= {"rh", "gh", "codes", "norms", "sequence", "commit", "content", "records", "record_ends"}


def test_damage_to_a_segment_is_found_and_repaired(cases):
    hit = [case for case in cases if case["place"].startswith("segments/")]
    assert Counter(case.get("repair") for case in hit)["done"] == len(hit) > 50
    assert any(case["lost"] for case in hit)
