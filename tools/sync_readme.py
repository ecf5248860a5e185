"""Write the numbers of benchmarks/results into README.md, between its markers; tests hold that they are the same.

python tools/sync_readme.py
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- howdy: begin (tools/sync_readme.py) -->", "<!-- howdy: end -->"


def howdy_table() -> str:
    """Render benchmarks/results/howdy.json."""
    result = json.loads((ROOT / "benchmarks" / "results" / "howdy.json").read_text())
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
        ("its scan of 5,000 x 6,144 (copying the same bytes)", f"{latency['scan']:.1f} ms ({latency['copy']:.1f} ms)"),
        ("auPRC at 5 / 10 / 50 / 100", " / ".join(f"{ranking[f'auprc@{k}']:.3f}" for k in (5, 10, 50, 100))),
        (
            "bfloat16 against float32",
            f"top-10 overlap {close['top10_overlap']:.3f}, all ten for {close['queries_with_the_same_ten']} in 100 "
            f"queries; cosine at least 0.999 for {close['cosine_at_least_0.999']:.1%} of documents, "
            f"minimum {close['cosine_minimum']:.4f}",
        ),
    ]
    where = f"{machine['cores']} cores of {machine['processor']}, torch {machine['packages']['torch']}"
    lines = [
        f"| {where}, commit {machine['commit']} | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
    ]
    return "\n".join(lines)


def synced(readme: str) -> str:
    """Return the README with its table as the results have it."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{howdy_table()}\n{END}{after}"


def main() -> None:
    path = ROOT / "README.md"
    path.write_text(synced(path.read_text()))
    sys.stdout.write(f"{path} is in step with benchmarks/results\n")


if __name__ == "__main__":
    main()
