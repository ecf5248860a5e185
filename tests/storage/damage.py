"""Damages every file and folder of a small index, one at a time, and judges what reading, verify and repair make of it.

    python -m tests.storage.damage FOLDER [FLIPS [SEED [PART]]]

FLIPS is how many single bits are flipped in each file. PART is a part of the places' names, or `i/n`: every nth case
from the ith on. Prints a line of JSON for each case; `broken` in it lists the promises that did not hold. Each case is
judged in a fork of this process, which has everything imported and has never opened an index, on a copy of its own; so
a signal or a hang ends one case and is told.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from risedb.config import ScoreConfig
from risedb.errors import RiseDBError
from risedb.storage import Condition, Store, repair, verify
from risedb.storage.columns import columns_bytes
from risedb.storage.layout import Layout, zarr_metadata
from risedb.storage.records import pack_record, unpack_record
from risedb.storage.segment import Segment
from risedb.topk import QueryVectors, scan
from tests.storage.pools import contents, new_rows, new_store

SECONDS = 60
LONG = "x" * 600
WHERE = [Condition("version", ">", ("0",))]
UNREAD = ("catalog/lock.mdb", "writer.lock", "readers", "staging")  # nothing in them is data
DERIVED = ("columns.arrow", "zarr.json", "row_crc32c", "codes", "code_scale", "code_error", "tombstones")


def make_index(path):
    """Make two segments, one of them compacted; a tail; tombstones in a segment, in a file, and of the tail."""
    store = new_store(path, chunk_bytes=250)
    store.lock()
    for start in (0, 10):
        store.append(new_rows([f"d{i}" for i in range(start, start + 10)]))
        store.seal()
    store.delete(["d4", "d14"])
    store.compact()
    store.append(new_rows(["d1", "d2", LONG, "é"], version=1))
    store.append(new_rows(["d3", "s"], version=2))
    store.seal()
    store.delete(["d5", "d1"])
    store.append(new_rows(["d6", "t", "u"], version=3))
    store.append(new_rows(["v"], version=4))
    store.delete(["u"])
    store.close()


def read_all(path):
    """Return what a reader can ask of an index, now and at earlier commits, as JSON has it."""
    answers = {}
    store = Store(path)
    try:
        newest = store.snapshot().commit.number
        answers["now"] = contents(store)
        answers["commits"] = [(one.number, one.what, one.rows) for one in store.commits()]
        found = store.lookup(["d0", "d4", "d12", "é", "s", "t", LONG, "nobody"])
        answers["lookup"] = [one and (one.sequence, one.content.hex()) for one in found]
        answers["documents"] = [
            (list(part.ids), part.rh.tolist(), records) for part, records in store.snapshot().documents(WHERE)
        ]
        queries = QueryVectors.of(new_rows(["q", "r"]).signatures, ScoreConfig())
        for name, where in (("hits", []), ("chosen", WHERE)):
            ranked = scan(store.snapshot().blocks(where), queries, ScoreConfig(), k=5)
            answers[name] = [(one.sequence.tolist(), one.scores.tolist()) for one in ranked]
    finally:
        store.close()
    for at in (newest - 1, newest - 4):
        past = Store(path, at=at)
        answers[f"at {at}"] = contents(past)
        past.close()
    return json.loads(json.dumps(answers))


def homes(path):
    """Return where each live document lies: in a segment, by its folder, or in the tail."""
    store = Store(path)
    places = {}
    for piece in store.snapshot().pieces:
        place = f"segments/{piece.folder.name}" if isinstance(piece, Segment) else "catalog"
        places |= {name: place for name, _ in store.records(piece.sequence.tolist())}  # the newest row comes last
    live = contents(store)[0]
    store.close()
    return {name: place for name, place in places.items() if name in live}


def damages(index, rng, flips):
    """Yield the places and kind of each damage, and a function that does it to a copy of the index."""
    files = sorted(str(file.relative_to(index)) for file in index.rglob("*") if file.is_file())
    folders = sorted(str(folder.relative_to(index)) for folder in index.rglob("*") if folder.is_dir())
    for file in files:
        data = (index / file).read_bytes()
        for i in range(flips if data else 0):
            flipped = bytearray(data)
            flipped[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            yield [file], f"flip {i}", writing(file, bytes(flipped))
        if data:
            start = int(rng.integers(len(data)))
            noise = rng.bytes(len(data[start : start + 64]))
            yield [file], "random bytes", writing(file, data[:start] + noise + data[start + 64 :])
            yield [file], "cut", writing(file, data[: int(rng.integers(len(data)))])
            yield [file], "empty", writing(file, b"")
        yield [file], "longer", writing(file, data + rng.bytes(int(rng.integers(1, 5000))))
        yield [file], "all random", writing(file, rng.bytes(max(len(data), 100)))
        yield [file], "missing", lambda copy, file=file: (copy / file).unlink()
    for places in (files, folders):
        segments = [place for place in places if place.startswith("segments/")]
        for place in places:
            parts = place.split("/")
            twins = [other for other in segments if other.split("/")[2:] == parts[2:] and other != place]
            others = twins if place in segments else [other for other in places if not other.startswith(place)]
            if others:
                other = others[int(rng.integers(len(others)))]
                yield [place, other], "swapped", lambda copy, a=place, b=other: swap(copy / a, copy / b)
    for folder in folders:
        yield [folder], "missing", lambda copy, folder=folder: shutil.rmtree(copy / folder)


def writing(file, data):
    return lambda copy: (copy / file).write_bytes(data)


def swap(one, other):
    third = one.with_name("third")
    one.rename(third)
    other.rename(one)
    third.rename(other)


def told(question, *arguments):
    """Return the answer, or the error that RiseDB raises."""
    try:
        return question(*arguments)
    except RiseDBError as error:
        return f"{type(error).__name__}: {error}"


def findings(path, full):
    return [f"{finding.place}: {finding.problem}" for finding in verify(path, full=full)]


def every_byte(path):
    """Return the content of every file that holds data."""
    return {file.read_bytes() for file in path.rglob("*") if file.is_file() and "lock" not in file.name} - {b""}


def judge(path, truth):
    """Return what reading says, what verify finds, and what is there after a repair."""
    answers = told(read_all, path)
    result = {"read": answers if isinstance(answers, str) else "same" if answers == truth else "wrong"}
    if result["read"] == "wrong":
        result["differs"] = [name for name in truth if answers.get(name) != truth[name]]
    result["fast"], result["full"] = (told(findings, path, full) for full in (False, True))
    before = every_byte(path)
    report = told(repair, path)
    if isinstance(report, str):
        return result | {"repair": report}
    result["gone"] = len(before - every_byte(path))
    now, pasts = truth["now"][0], [past[0] for name, past in truth.items() if name.startswith("at ")]
    store = Store(path)
    store.lock()
    rows = json.loads(json.dumps(contents(store)[0]))
    store.append(new_rows(["after"]))
    store.close()
    lists = [json.loads(file.read_text()) for file in path.rglob("damaged/*/*/lost-ids.json")]
    return result | {
        "repair": "done" if report.changed else "nothing to do",
        "words": report.lost,
        "named": sorted(name for names in lists for name in names),
        "lost": sorted(set(now) - set(rows)),
        "stale": sorted(name for name in now if name in rows and rows[name] != now[name]),
        "invented": sorted(name for name, row in rows.items() if all(past.get(name) != row for past in [now, *pasts])),
        "revived": sorted(set(rows) - set(now)),
        "after": findings(path, True),
    }


def broken(places, kind, result, home):
    """Return the promises that a case broke."""
    if "bug" in result or "signal" in result:
        return ["ended by no error of RiseDB"]
    promises = {
        "no wrong answer": result["read"] != "wrong",
        "errors tell of damage": result["read"] == "same"
        or result["read"].startswith(("Corrupt", "UnsupportedFormat")),
        "what cannot be read, verify finds": result["read"] == "same" or result["full"] != [],
        "fast finds nothing that full does not": not result["fast"] or result["full"] != [],
        "verify finds all damage to data": result["full"] != [] or is_harmless(places, kind),
        "repair needs no help": not result["repair"].startswith("Corrupt") or "FORMAT" in places,
    }
    if result["repair"] in {"done", "nothing to do"}:
        hit = {name for name, where in home.items() if any(loses(place, where) for place in places)}
        catalog = any(place.startswith("catalog") for place in places)
        promises |= {
            "what is found is repaired": (result["repair"] == "done") == (result["full"] != []),
            "a repaired index is sound": result["after"] == [],
            "repair deletes nothing": result["gone"] == 0,
            "repair loses nothing that was sound": hit.issuperset(result["lost"]),
            "repair names what is lost": bool(result["words"]) if catalog else result["named"] == result["lost"],
            "repair brings nothing back": not result["revived"],
            "repair invents nothing": not result["invented"],
            "only a lost tail makes rows stale": hit.issuperset(result["stale"]) and (catalog or not result["stale"]),
        }
        if not result["lost"] and not result["stale"]:
            promises.pop("repair names what is lost")
    return [promise for promise, holds in promises.items() if not holds]


def is_harmless(places, kind):
    """Tell whether damage may change no data: not all pages of data.mdb are in use, and metadata has equal files."""
    equal = kind == "swapped" and places[0].endswith("zarr.json")
    return equal or all(place.startswith((*UNREAD, "catalog/data.mdb")) for place in places)


def loses(place, home):
    """Tell whether damage to a place may cost a document that lies in `home`."""
    inner = place.removeprefix(home).strip("/")
    return place.split("/")[0] == home or place == "segments" or (
        place.startswith(home) and inner.split("/")[0] not in DERIVED and not inner.endswith("zarr.json")
    )  # fmt: skip


def forked(job, *arguments):
    """Run a job in a fork, and return what it returns or how it ended."""
    reading, writing_end = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        try:
            result = job(*arguments)
        except Exception as error:  # noqa: BLE001  whatever it is, it is no error of RiseDB
            result = {"bug": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-2000:]}
        with os.fdopen(writing_end, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(writing_end)
    with os.fdopen(reading) as pipe:
        result = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"signal": signal.Signals(os.WTERMSIG(status)).name} if os.WIFSIGNALED(status) else json.loads(result)


def chosen(cases, part):
    """Yield the cases of a part."""
    start, _, step = part.partition("/")
    for number, (places, kind, damage) in enumerate(cases):
        if number % int(step) == int(start) if step and start.isdigit() else part in places[0]:
            yield places, kind, damage


def main(folder, flips="1", seed="0", part=""):
    import lmdb.verify  # noqa: F401
    import pyarrow.compute  # noqa: F401

    layout = Layout((1,), "|u1", 1)
    zarr_metadata({"array": layout}, {})  # imports what every fork would import anew
    columns_bytes([unpack_record(pack_record("id", {"field": "text"}), "a record")[1]])
    sound, copy = Path(folder, "sound.rise"), Path(folder, "copy.rise")
    forked(make_index, sound)
    truth, home = forked(read_all, sound), forked(homes, sound)
    for places, kind, damage in chosen(damages(sound, np.random.default_rng(int(seed)), int(flips)), part):
        shutil.copytree(sound, copy)
        damage(copy)
        result = forked(judge, copy, truth)
        case = {"place": places[0], "kind": kind, "broken": broken(places, kind, result, home)}
        if kind == "swapped":
            case["with"] = places[1]
        sys.stdout.write(json.dumps(case | result) + "\n")
        shutil.rmtree(copy)


if __name__ == "__main__":
    main(*sys.argv[1:])
