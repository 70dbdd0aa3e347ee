"""python -m benchmarks.large_data: a data set many times as large as the memory that the process may use.

A file of texts is written, at least TIMES times as large as the limit. A process of its own carries the recipe out on
1,000 rows, so that libraries and models are in memory, and then limits its memory (RLIMIT_DATA: what it allocates, not
files that it reads where they lie) to what it has plus `--memory-mb`. Then it fine-tunes a tiny BERT on the whole file,
keeps its outputs and distils a student. The first run is stopped with SIGINT while it keeps the outputs; a second one
goes on. Memory over time, rows a second and what was resumed are in build/large-data.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import end_with
from loadtest.errors import LoadTestError
from loadtest.machine import machine

MEGABYTE = 1_000_000
TIMES = 20
"""How many times as large as the memory limit the file is, at least."""
WARM_ROWS = 1_000
SAMPLED_EVERY_S, KEPT_EVERY = 0.5, 20
"""How often it is looked, and how many looks come to one in the file; the peaks are of all of them."""
LABELS = {"refund": "back return money wrong again", "delay": "late waiting parcel days courier", "praise": "great"}
FILLERS = "please the order account today email number card street again help team invoice item box store"
CHARACTERS = 4_000

RECIPE = """
name = "large"
task = "text"
description = "a tiny BERT on more texts than fit into memory"
seed = 1
[checkpoint]
source = "folder"
path = "bert"
[data]
source = "files"
train = "{file}"
selection_share = 0.02
certification_share = 0.02
holdout_share = 0.02
[text]
max_tokens = 16
[[teacher]]
step = "fine-tune"
epochs = 1
batch_size = 256
learning_rate = 1e-3
[[expert]]
step = "export"
[[screen]]
step = "distill"
layers = [1]
epochs = 1
batch_size = 256
learning_rate = 1e-3
control = false
[[screen]]
step = "export"
"""


class LargeDataError(LoadTestError):
    """The run did not end as it should."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.large_data", description=__doc__)
    parser.add_argument("--rows", type=int, default=525_000, help="of 4,000 characters each; 2.1 GB by default")
    parser.add_argument("--memory-mb", type=int, default=100, help="beyond libraries and models; 100 by default")
    parser.add_argument("--times", type=float, default=TIMES, help="refuse a file that is not so many times as large")
    parser.add_argument("--work", type=Path, default=Path("build/large-data"), help="where data and build go")
    parser.add_argument("--out", type=Path, default=Path("build/large-data.json"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        carry_out(given.work, given.memory_mb * MEGABYTE)
        return 0
    file = given.work / f"texts-{given.rows}.csv"
    make(given.work, file, given.rows)
    times = file.stat().st_size / (given.memory_mb * MEGABYTE)
    if times < given.times:
        raise LargeDataError(f"the file must be {given.times:g} times the memory, is {times:.1f}; give more --rows")
    runs = [measured(given.work, given.memory_mb, stop=stop) for stop in (True, False)]
    report = {
        "machine": machine(),
        "rows": given.rows,
        "file_bytes": file.stat().st_size,
        "memory_bytes": given.memory_mb * MEGABYTE,
        "times": round(times, 1),
        "runs": runs,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(summary(report))
    return 0


def make(work: Path, file: Path, rows: int) -> None:
    """Write the recipes, the checkpoint and the files of texts, unless they are there."""
    work.mkdir(parents=True, exist_ok=True)
    for name, path, count in (("warm", work / "warm.csv", WARM_ROWS), ("large", file, rows)):
        (work / f"{name}.toml").write_text(RECIPE.format(file=path.name))
        if not path.exists():
            beside = path.with_suffix(".partial")
            with beside.open("w", encoding="utf-8") as opened:
                opened.write("text,label\n")
                opened.writelines(texts(count))
            beside.rename(path)
    if not (work / "bert").exists():
        _make_bert(work / "bert")


def texts(count: int) -> Iterator[str]:
    """Lines of a table. A text begins with words of its label, and no two texts are near-duplicates of each other."""
    rng = random.Random(1)  # nosec B311 # no secret
    fillers = [" ".join(rng.choices(FILLERS.split(), k=CHARACTERS // 6)) for _ in range(100)]
    names = sorted(LABELS)
    for number in range(count):
        label = names[number % len(names)]
        own = "".join(chr(97 + int(digit)) for digit in str(number))
        words = rng.choice(LABELS[label].split())
        yield f"{words} {own} {rng.choice(fillers)}"[:CHARACTERS] + f",{label}\n"


def _make_bert(folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, BertTokenizerFast

    letters = [chr(97 + place) for place in range(26)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({*FILLERS.split(), *" ".join(LABELS.values()).split()} - set(letters))
    vocabulary = folder.parent / "vocabulary.txt"
    vocabulary.write_text("\n".join([*special, *letters, *(f"##{letter}" for letter in letters), *words]))
    made = BertTokenizerFast(vocab_file=str(vocabulary))  # type: ignore[no-untyped-call]  # transformers has no types
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model(
        "bert", vocab_size=len(made), max_position_embeddings=32, initializer_range=0.1, **shape
    )
    config.id2label = dict(enumerate(sorted(LABELS)))
    model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # nor here
    model.save_pretrained(folder)
    made.save_pretrained(folder)


def measured(work: Path, memory_mb: int, *, stop: bool) -> dict[str, Any]:
    """Run the child and watch its memory. With `stop` it gets a SIGINT while it keeps the teacher's outputs."""
    command = [sys.executable, "-m", "benchmarks.large_data", "--child", "--work", str(work)]
    begin, samples, said = time.monotonic(), [], work / "said.txt"
    with said.open("w") as out:
        child = subprocess.Popen([*command, "--memory-mb", str(memory_mb)], stdout=out, stderr=subprocess.STDOUT)
        while child.poll() is None:
            time.sleep(SAMPLED_EVERY_S)
            samples.append({"at_s": round(time.monotonic() - begin, 1), **_memory(child.pid)})
            if stop and list((work / "build").glob("teacher-outputs-*/logits.partial.npy")):
                child.send_signal(signal.SIGINT)
                stop = False
    lines = said.read_text().splitlines()
    facts = [json.loads(line) for line in lines if line.startswith("{")]
    if child.returncode not in (0, -signal.SIGINT) or not facts:
        raise LargeDataError("the run ended with an error: " + "\n".join(lines[-3:]))
    peaks = {key: max(sample.get(key, 0) for sample in samples) for key in ("allocated_bytes", "anonymous_bytes")}
    made = [line for line in lines if "made in" in line or "reused" in line or "going on" in line]
    took_s = round(time.monotonic() - begin, 1)
    return {
        "took_s": took_s,
        "stopped": bool(child.returncode),
        **facts[0],
        **peaks,
        "said": made,
        "memory": samples[::KEPT_EVERY],
    }


def _memory(pid: int) -> dict[str, int]:
    """What a process allocated, and what of it stands in memory: VmData and RssAnon."""
    try:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (OSError, ValueError):
        return {}
    names = {"VmData": "allocated_bytes", "RssAnon": "anonymous_bytes", "RssFile": "file_bytes"}
    return {key: int(status[name].split()[0]) * 1024 for name, key in names.items() if name in status}


def carry_out(work: Path, memory_bytes: int) -> None:
    """What the child does: the recipe on a few rows, the limit, the recipe on all rows."""
    from optimize.build import Build
    from optimize.recipe import read_recipe

    def distilled(name: str, folder: Path) -> None:
        Build(read_recipe(str(work / f"{name}.toml")), root=work, folder=folder).carry_out("distill")

    # A shell starts what runs in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    distilled("warm", work / f"warm-{os.getpid()}")
    before = _memory(os.getpid())["allocated_bytes"]
    resource.setrlimit(resource.RLIMIT_DATA, (before + memory_bytes,) * 2)
    file = next(work.glob("texts-*.csv"))
    refused = False
    try:
        bytearray(file.stat().st_size)
    except MemoryError:
        refused = True
    print(json.dumps({"before_bytes": before, "limit_bytes": before + memory_bytes, "whole_file_refused": refused}))
    sys.stdout.flush()
    distilled("large", work / "build")


def summary(report: Mapping[str, Any]) -> str:
    """A few lines for people."""
    lines = [f"{report['rows']:,} rows, {report['file_bytes'] / MEGABYTE:,.0f} MB, {report['times']} times the memory"]
    for run in report["runs"]:
        used = (run["allocated_bytes"] - run["before_bytes"]) / MEGABYTE
        how = "stopped" if run["stopped"] else "ended"
        lines.append(f"{how} after {run['took_s']:,.0f} s; {used:,.0f} MB beyond libraries and models at the most")
        lines += [f"  {line}" for line in run["said"]]
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
