"""Write the numbers of benchmarks/results into README.md, between its markers; tests hold that they are the same.

python tools/sync_readme.py
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def howdy_table() -> str:
    """Render benchmarks/results/howdy.json."""
    result = kept("howdy")
    machine, build, half = result["machine"], result["build_float32"], result["build_bfloat16"]
    bare = result["bare_forward_float32_seconds"]
    latency, close, ranking = result["query_milliseconds"], result["bfloat16_against_float32"], result["ranking"]
    rows = [
        ("build, float32", f"{build['seconds']:.0f} s, {build['tokens_per_second']:,.0f} tokens/s"),
        ("of which the bare forward pass takes", f"{bare:.0f} s ({bare / build['seconds']:.0%})"),
        ("build, bfloat16", f"{half['seconds']:.0f} s, {half['tokens_per_second']:,.0f} tokens/s"),
        (
            "disk",
            f"{build['disk_bytes'] / 2**20:.0f} MiB, {build['disk_bytes'] / 5000:,.0f} bytes a document with its text",
        ),
        ("one query, its forward pass included", f"{latency['whole']:.1f} ms"),
        ("the bare forward pass of its tokens", f"{latency['forward']:.1f} ms"),
        ("one of 100 queries asked together", f"{latency['in_a_batch']:.1f} ms"),
        ("its scan of 5,000 x 6,144 (copying the same bytes)", f"{latency['scan']:.1f} ms ({latency['copy']:.1f} ms)"),
        ("auPRC at 5 / 10 / 50 / 100", " / ".join(f"{ranking[f'auprc@{k}']:.3f}" for k in (5, 10, 50, 100))),
        (
            "bfloat16 against float32",
            f"top-10 overlap {close['top10_overlap']:.3f}, all ten for {close['queries_with_the_same_ten']} in 100 "
            f"queries; cosine at least 0.999 for {close['cosine_at_least_0.999']:.1%} of documents, "
            f"minimum {close['cosine_minimum']:.4f}",
        ),
    ]
    return table(machine, rows)


def scan_table() -> str:
    """Render the scans: RiseDB's time, and how many times longer each peer took in the same run."""
    compact, base = kept("scan-compact-1005000"), kept("scan-base-105000")
    rows = []
    for result in (compact, base):
        size = f"{result['rows']:,} x {result['numbers_a_row']:,}"
        for batch, times in result["milliseconds"].items():
            own = times["risedb"]["median"]
            peers = [f"{name} {one['median'] / own:.1f}" for name, one in times.items() if name != "risedb"]
            rows.append((f"{size}, {batch}", f"{own:,.0f} ms; times as long: {', '.join(peers)}"))
    recall = ", ".join(f"{name} {value:.3f}" for name, value in compact["recall"].items())
    taken = ", ".join(
        f"{one['rise_MiB']:.0f} ({how.removeprefix('--memory 64MiB ').replace('--', '')})"
        for how, one in compact["anonymous_memory_of_a_fresh_process"].items()
        if how.startswith("--memory 64MiB")
    )
    rows.append((f"MiB that a query of the {compact['pool_MiB']:,} MiB allocates, `--memory 64MiB`", taken))
    rows.append(("ids equal to a float64 ranking of everything", f"RiseDB's all; recall of the peers: {recall}"))
    return table(compact["machine"], rows)


def store_table() -> str:
    """Render what the store costs, and what it was put through."""
    store, where, crash = kept("store"), kept("where"), kept("crash")
    single, floor = store["single_adds"], store["lmdb_commit_of_100_bytes_milliseconds"]
    times, scanned = single["milliseconds"], store["scan_of_40000_rows_milliseconds"]
    kills, states, faults, load = (crash[name] for name in ("kill", "states", "faults", "load"))
    injected = sum(row["faults"] for row in faults["calls"].values())
    rows = [
        (
            "one document added, durable (LMDB committing 100 bytes)",
            f"median {times['median']:.2f} ms, mean {times['mean']:.2f} ms "
            f"({floor['median']:.2f} ms, {floor['mean']:.2f} ms)",
        ),
        (f"{single['adds']:,} such adds leave", f"{single['segments']} segments, {single['files']} files"),
        (
            "40,000 rows scanned in the tail (in a segment)",
            f"{scanned['tail']:.1f} ms ({scanned['segment']:.1f} ms)",
        ),
        ("a condition over a million rows, warm", where_row(where)),
        ("killed at every kind of call that changes the disk", f"{kills['kills']:,} times, {failures(kills)}"),
        ("states that a power cut can leave", f"{states['checked']:,} reopened, {failures(states)}"),
        ("writes and syncs of LMDB that fail", f"{injected:,}, {failures(faults)}"),
        (
            f"{load['readers']} readers beside a writer for {load['seconds'] // 60} minutes",
            f"{load['snapshots']:,} snapshots, {load['changes']:,} changes, {failures(load)}",
        ),
    ]
    return table(store["machine"], rows)


def add_table() -> str:
    """Render what an add costs beside the model."""
    result = kept("add")
    few, many, restart = result["few"], result["many"], result["restart"]
    rows = [
        (
            f"peak memory, {few['added']:,} documents (and {many['added']:,})",
            f"{few['peak_bytes'] / 2**20:,.0f} MiB ({many['peak_bytes'] / 2**20:,.0f} MiB)",
        ),
        (
            f"the {restart['unchanged']:,} again, nothing new, no model loaded",
            f"{restart['seconds']:.1f} s, {restart['peak_bytes'] / 2**20:,.0f} MiB",
        ),
    ]
    return table(result["machine"], rows)


def build_table() -> str:
    """Render what a build adds to the bare forward pass, by shape, and bergson's speed."""
    result = kept("build")
    rows = []
    for shape, one in result["shapes"].items():
        parts = (
            f"{dtype} {one[dtype]['tokens_per_second']['build']:,.0f} tokens/s, {one[dtype]['ratio']:.2f} of it bare"
            for dtype in ("float32", "bfloat16")
        )
        rows.append((f"Pythia-{shape}'s shape, random weights", "; ".join(parts)))
    for what, one in result.get("bergson 2.5.1", {}).items():
        rates = one["tokens_per_second"]
        numbers = f"{rates['risedb']:,.0f} tokens/s against {rates['bergson']:,.0f}: {one['ratio']:.1f} times"
        rows.append((f"beside bergson 2.5.1 ({what})", numbers))
    return table(result["machine"], rows)


def pool_table() -> str:
    """Render the paper's 105K pool: RISE and BM25, as in Table 35."""
    result = kept("pool-105000")
    rows = [
        (
            f"{result['documents']:,} documents, {result['positives']:,} positives: build",
            f"{result['build']['seconds'] / 60:.1f} minutes, {result['disk_bytes'] / 2**20:,.0f} MiB",
        )
    ]
    for name, method in result["methods"].items():
        numbers = "; ".join(
            "{} {:.3f} / {:.3f}".format(shown, *(method["at"][k][what] for k in ("10", "100")))
            for what, shown in (("precision", "precision"), ("auprc", "auPRC"), ("auroc", "auROC"))
        )
        rows.append((f"{name} at 10 / 100, {result['queries']} queries", f"{numbers}; {method['seconds']:.1f} s"))
    return table(result["machine"], rows)


def fidelity_table() -> str:
    """Render auPRC at 10 of RISE and of what is compared with it, on the whole pools and on the sample."""
    steps = kept("fidelity")
    pools = ("howdy", "brain-rot", "finance-medical")
    ours, tuned = (
        {pool: steps[f"{step}-{pool}"]["result"][pool][paradigm] for pool in pools}
        for step, paradigm in (("predict", "prospective"), ("recall", "retrospective"))
    )
    rivals, tuned_rivals = (
        {pool: steps[f"{step}-rivals-{pool}"]["result"] for pool in pools} for step in ("predict", "recall")
    )
    chosen = {
        "unit": "RISE",
        "unit, centred": "RISE, `--center`",
        "residual": "RISE, `--factor-norm residual`",
        "unit, input embeddings, centred": "RISE, `--gh-through input-embeddings`, `--center`",
    }
    lines = [(shown, ours, name) for name, shown in chosen.items()]
    lines += [(name, rivals, name) for name in ("bm25", "embedding", "hidden", "length")]
    lines += [
        ("RISE, fine-tuned on the pool", tuned, "unit"),
        ("hidden, fine-tuned on the pool", tuned_rivals, "hidden"),
    ]
    rows = [("auPRC at 10", ", ".join(pools))]
    rows += [(shown, " / ".join(f"{of[pool][name]['auprc@10']:.3f}" for pool in pools)) for shown, of, name in lines]
    sample = steps["sample-howdy"]["result"]
    wanted = (
        "rise",
        "grad-sketch",
        "head-exact",
        "tracin-cosine",
        "rapidin",
        "trackstar-unit",
        "logra",
        "ek-fac",
        "zo-inf",
    )
    numbers = ", ".join(
        f"{name} {sample[name]['auprc@10']:.3f}" for name in wanted if "auprc@10" in sample.get(name, {})
    )
    rows.append((f"{sample['rise']['rows']} documents of howdy, {sample['rise']['queries']} queries", numbers))
    ranked = [name for name in steps if name == "sample-howdy" or name.startswith(("predict", "recall"))]
    return table(steps["sample-howdy"]["machine"], rows, *(steps[name]["machine"] for name in ranked))


def where_row(where: dict[str, Any]) -> str:
    times = where["milliseconds"].values()
    slowest = max(one["warm"]["median"] for one in times)
    parsing = min(one["parsing_every_record_instead"] for one in times)
    return f"at most {slowest:.1f} ms (parsing the records: at least {parsing:,.0f} ms)"


def failures(result: dict[str, Any]) -> str:
    count = len(result["failures"])
    return "no promise broken" if not count else f"{count} promises broken"


def kept(name: str) -> dict[str, Any]:
    """Read a kept result."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return result


def table(machine: dict[str, Any], rows: list[tuple[str, str]], *more: dict[str, Any]) -> str:
    """Render rows under what they were measured on, of several machines or commits all."""
    commits: dict[str, dict[str, None]] = {}
    for one in (machine, *more):
        where = f"{one['cores']} cores of {one['processor']}, torch {one['packages']['torch']}"
        commits.setdefault(where, {})[one["commit"]] = None
    named = (f"{where}, commit{'s' * (len(some) > 1)} {', '.join(some)}" for where, some in commits.items())
    head = [f"| {'; '.join(named)} | |", "|---|---|"]
    return "\n".join([*head, *(f"| {name} | {value} |" for name, value in rows)])


TABLES = {
    "howdy": howdy_table,
    "pool": pool_table,
    "scan": scan_table,
    "store": store_table,
    "add": add_table,
    "build": build_table,
    "fidelity": fidelity_table,
}


def synced(readme: str) -> str:
    """Return the README with its tables as the results have them."""
    for name, render in TABLES.items():
        begin, end = f"<!-- {name}: begin (tools/sync_readme.py) -->", f"<!-- {name}: end -->"
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = f"{before}{begin}\n{render()}\n{end}{after}"
    return readme


def main() -> None:
    path = ROOT / "README.md"
    path.write_text(synced(path.read_text()))
    sys.stdout.write(f"{path} is in step with benchmarks/results\n")


if __name__ == "__main__":
    main()
