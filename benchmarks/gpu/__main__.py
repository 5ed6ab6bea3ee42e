"""The GPU check: is a card's work right, and how near is it to what the card can do?

    python -m benchmarks.gpu --out gpu-check                       # at most nine minutes on one CUDA card
    python -m benchmarks.gpu --device cpu --small --out dry-run    # the same code at small shapes

Needs no network and no files but the repository's: the tiny Llama that ships with Bench, the embedded news rows, and
models of random weights that are made on the device. Written after every row: OUT/gpu.json (everything) and OUT/gpu.md
(one table). Parts, in their order:

  limits        copy bandwidth and the rate of a large bf16 matrix product
  answers       choose, generate, head and json (with llguidance) on the card against the CPU in float32: the
                same answers, label scores within 1e-3
  training      losses and weights of training steps against the CPU; shared prefixes against padded batches
  nf4           bitsandbytes: weights are 4-bit, answers are those of the unpacked weights, two training steps
  liger         liger-kernel off and on: the same losses and weights, and the speed of both
  llama-3.2-1b, llama-3.2-3b, llama-3.1-8b
                bf16 at true shapes: decode as a share of the copy bandwidth, prefill and LoRA training as shares of the
                matrix rate, peak memory, beside lm-eval (hf) and TRL on the same rows and weights

What needs a package that is not installed is skipped with a sentence, and so is what the remaining time does not cover.
Every part runs in a process of its own, which ends at the part's limit. Exit code: 0 where every required comparison
holds and nothing failed, 1 otherwise, 2 for a wrong command line.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks.gpu.parts import BUDGET_S, PARTS


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("OUT") or "gpu-check")
    parser.add_argument("--out", type=Path, default=default, help="output folder (default: $OUT, else gpu-check)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small shapes and few rows: a dry run")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_S,
        metavar="SECONDS",
        help=f"time for everything (default {BUDGET_S:.0f}); each part gets its share",
    )
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="parts to run, separated by commas")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """Run the check; returns the exit code."""
    begun = time.perf_counter()
    parser = options()
    args = parser.parse_args()
    if args.part:
        from benchmarks.gpu.runner import run_part

        run_part(args.part, args.out)
        return 0
    names = [name.strip() for name in args.only.split(",")]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"--only: there is no part '{unknown[0]}' (parts: {', '.join(PARTS)}).")
    if args.device == "cpu" and not args.small:
        parser.error("--device cpu needs --small: true shapes take a CPU hours.")

    import torch

    from benchmarks.gpu.results import JSON_FILE, TABLE_FILE, Report, markdown
    from benchmarks.gpu.runner import run_all
    from harness.hardware import git_commit, hardware, versions

    machine = hardware()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is available: --device cpu --small is the dry run without one.")
    report = Report(
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        device=args.device,
        small=args.small,
        budget_s=args.budget,
        environment={"versions": versions(), "hardware": machine, "commit": git_commit()},
    )
    run_all(report, args.out, names, begun)
    print(markdown(report), end="")
    print(f"\nWritten to {args.out / JSON_FILE} and {args.out / TABLE_FILE}.")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
