"""The gate on trained adapters: an equal one of another seed passes, a worsened one is stopped.

    python benchmarks/gate_demo.py --data PATH/agnews --out DIR     # train.csv and test.csv; a few CPU-minutes

Trains the tiny base on 6,000 real news rows three times: seed 1 (the baseline), seed 2 (equal), and seed 2 with the
label of every third row moved to another class (worsened). Each answers the same test rows; the last two are
gated against the first. The figures of a run stand in docs/gate-demo.md.
"""

import argparse
import csv
import random
import subprocess
import sys
from importlib import resources
from pathlib import Path

BENCH = (sys.executable, "-c", "from harness.cli.main import main; main()")
CLASSES = "1234"
VARIANTS = {"first": (1, 0.0), "equal": (2, 0.0), "worsened": (2, 1 / 3)}
"""Name -> seed of the training, share of training labels moved."""


def bench(*argv: str | Path) -> int:
    """Run a command, its output shown; only a gate may end with 1."""
    print("\n$ bench", *argv, flush=True)
    code = subprocess.run([*BENCH, *map(str, argv)]).returncode
    if code not in (0, 1):
        sys.exit(code)
    return code


def write_rows(source: Path, folder: Path, rows: int, noise: float) -> None:
    """The first rows of a seeded shuffle of train.csv, with a share of the labels moved on."""
    with (source / "train.csv").open(encoding="utf-8", newline="") as file:
        everything = list(csv.reader(file))
    random.Random(0).shuffle(everything)
    chance = random.Random(1)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        for label, *texts in everything[:rows]:
            moved = chance.random() < noise
            writer.writerow([chance.choice([c for c in CLASSES if c != label]) if moved else label, *texts])


def measure(name: str, args: argparse.Namespace) -> Path:
    """Train one variant and let it answer the test rows; the run directory."""
    seed, noise = VARIANTS[name]
    out: Path = args.out / name
    base = str(resources.files("harness.adapters") / "tiny")
    write_rows(args.data, out / "rows", args.rows, noise)
    adapter = out / "adapter"
    if not adapter.exists():
        train = ("--task", "agnews", "--base", base, "--recipe", "tiny-agnews", "--seed", str(seed), "--quiet")
        bench("train", *train, "--data", out / "rows", "--set", f"epochs={args.epochs}", "--out", adapter)
    settings = f'[backends.candidate]\nkind = "local"\nmodel = "{base}"\nadapter = "{adapter}"\nthreads = 1\n'
    (out / "bench.toml").write_text(settings)
    run = out / "run"
    if not run.exists():
        asked = ("--task", "agnews", "--backends", "candidate", "--data", args.data / "test.csv", "--quiet")
        bench("run", *asked, "--config", out / "bench.toml", "--out", run)
    return run


def main() -> None:
    """Train, run, accept, gate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--margin", default="0.05")
    args = parser.parse_args()
    args.out = args.out.resolve()
    runs = {name: measure(name, args) for name in VARIANTS}
    baseline = args.out / "main.json"
    bench("baseline", "accept", runs["first"], "--out", baseline)
    codes = {}
    for name in ("equal", "worsened"):
        terms = ("--margin", "accuracy", args.margin, "--margin", "macro_f1", args.margin)
        codes[name] = bench("gate", runs[name], "--baseline", baseline, *terms)
    print("\nexit codes:", codes)
    sys.exit(0 if codes == {"equal": 0, "worsened": 1} else 1)


if __name__ == "__main__":
    main()
