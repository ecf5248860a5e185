"""What an add costs beside the model: host memory as the pool grows, and the restart of an add that is finished.

    python -m benchmarks.add

100,000 documents of some ten tokens, and 5,000, through a model of one layer and 16 dimensions, sketched at base; each
add in a process of its own, whose peak memory the kernel tells. Then the larger one again, in which nothing is new: no
forward pass, and no torch. Ten minutes on two cores; keeps benchmarks/results/add.json.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import risedb
from benchmarks.machine import describe

DEMO = Path(risedb.__file__).parent / "featurize" / "demo_model"
RESULT = Path(__file__).parent / "results" / "add.json"
ADD = """
import json, resource, sys, time
import risedb
from risedb.corpus import read
start = time.perf_counter()
with risedb.open(sys.argv[1], sys.argv[3], create=True, readout=risedb.ReadoutConfig(k_max=16)) as db:
    report = db.add(read(sys.argv[2]), profile=True)
print(json.dumps({
    "seconds": time.perf_counter() - start, "added": report.added, "unchanged": report.unchanged,
    "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    "torch_imported": "torch" in sys.modules, "profile": dict(report.seconds),
}))
"""


def write_pool(path: Path, count: int) -> None:
    words = ["file", "lock", "path", "list", "string", "thread", "socket", "value", "name", "returns", "opens", "reads"]
    rng = random.Random(0)
    with path.open("w") as file:
        for i in range(count):
            text = " ".join(rng.choices(words, k=rng.randint(3, 9)))
            file.write(json.dumps({"id": f"doc-{i}", "text": f"{text} {i}", "source": "words"}) + "\n")


def save_model(folder: Path) -> None:
    """Save a random model, with the tokenizer of the packaged one."""
    from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def add(index: Path, pool: Path, model: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", ADD, index, pool, model], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    count = parser.parse_args().documents
    result: dict[str, Any] = {"machine": describe(), "documents": count, "sketch": "128/24/128"}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        few, many = Path(folder, "few.jsonl"), Path(folder, "many.jsonl")
        model = Path(folder, "model")
        save_model(model)
        write_pool(few, count // 20)
        write_pool(many, count)
        result["few"] = add(Path(folder, "few.rise"), few, model)
        result["many"] = add(Path(folder, "many.rise"), many, model)
        result["restart"] = add(Path(folder, "many.rise"), many, model)
    result["memory_growth_bytes"] = result["many"]["peak_bytes"] - result["few"]["peak_bytes"]
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
