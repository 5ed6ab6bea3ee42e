"""Linear layers in int8 (torch's dynamic quantisation) against float32: speed and equal answers on real rows.

    python -m benchmarks.int8_weights --base SMOLLM2 --data agnews/test.csv --rows 100 [--adapter FOLDER]

Each way runs in a process of its own, on one thread: greedy answers of 8 tokens in batches of 8 sorted by length, under
the base's chat template. CPU seconds are those of answering; loading and quantising are printed beside them.
--adapter is merged into the base first. Equal answers decide whether Bench could offer it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BATCH, NEW_TOKENS = 8, 8


def prompts(args: argparse.Namespace) -> list[str]:
    """The first rows of the seeded order as `bench run --task agnews` asks them."""
    from harness.data.rows import DataSource
    from harness.data.sampling import seeded_order
    from harness.task_loading import build_request, load_rows, load_task

    task = load_task("agnews")
    rows = seeded_order(load_rows(task, DataSource(location=str(args.data))), 0)[: args.rows]
    return [build_request(task, row).messages[0].content for row in rows]


def answer(way: str, args: argparse.Namespace) -> dict[str, Any]:
    """Answers of one way, and what they cost."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    begun = time.process_time()
    tokenizer = AutoTokenizer.from_pretrained(args.base, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32).eval()
    if args.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, args.adapter).merge_and_unload()
    if way == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True)
        for p in prompts(args)
    ]
    order = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
    answers = [""] * len(texts)
    loaded = time.process_time()
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = tokenizer([texts[n] for n in rows], return_tensors="pt", padding=True, add_special_tokens=False)
        out = model.generate(**batch, max_new_tokens=NEW_TOKENS, do_sample=False)
        said = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        for n, text in zip(rows, said, strict=True):
            answers[n] = text
    return {"load_s": loaded - begun, "answer_s": time.process_time() - loaded, "answers": answers}


def main() -> None:
    """One run each, and how many answers are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", default="")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--way", choices=["float32", "int8"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(answer(args.way, args)))
        return
    found = {}
    for way in ("float32", "int8"):
        command = [sys.executable, "-m", "benchmarks.int8_weights", *sys.argv[1:], "--way", way]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        if done.returncode:
            sys.exit(f"{way} did not finish:\n{done.stderr[-2000:]}")
        found[way] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{way}: answering {found[way]['answer_s']:.1f} CPU s, loading {found[way]['load_s']:.1f} CPU s", flush=True
        )
    pairs = list(zip(found["float32"]["answers"], found["int8"]["answers"], strict=True))
    print(f"equal answers: {sum(a == b for a, b in pairs)} of {len(pairs)}")
    print(f"float32 / int8: {found['float32']['answer_s'] / found['int8']['answer_s']:.2f}")


if __name__ == "__main__":
    main()
