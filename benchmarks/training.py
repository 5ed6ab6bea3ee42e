"""The same training by Bench, by TRL's SFTTrainer as its documentation shows it, and padded to 128 tokens.

    python -m benchmarks.training --data DATA/agnews --rows 480 --pairs 5
    python -m benchmarks.training --data DATA/agnews --base SMOLLM2 --objectives peers --batch 8 --rows 96 \\
        --trl-python TRL/bin/python --before-python BEFORE/bin/python
    python -m benchmarks.training --device cuda --width 2048 --layers 16 --rows 20000      # Llama 3.2 1B's shape

Same rows, base weights, LoRA, optimiser, batch and order-free epoch; nobody computes activations twice (TRL would by
default, to save memory). Each contender runs in a process of its own,
interleaved. Comparisons: `answer` (prompt and topic; against TRL's default settings), `grouped` (against TRL with rows
grouped by length), `packed` (against TRL's best-fit packing, as many tokens a step as a batch of rows has), `shared`
(shared prefixes against Bench's own padded batches), `head` (a classification head on the text; against the AG News
article's padding to 128), `peers` (against TRL grouped, TRL packed, and the trainer of an earlier commit of Bench, in
one round) and `bf16` (against TRL grouped and packed under its bf16 autocast, which a processor without such
instructions emulates). Reported: seconds of the training alone (wall, and CPU seconds, which a busy machine disturbs
less), rows a second, peak memory of the training, tokens computed (and their ratio to the fewest possible: the prefix
of a micro-batch once, and each row's own tokens), and the loss on rows that none trained on, computed by one function.
TRL is no dependency of Bench: `--trl-python` names an interpreter that has both, `--before-python` one in which the
earlier commit (dc00f7c) is installed; or leave their comparisons out of --objectives.
"""

import argparse
import functools
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

RATE, SEED, LORA_R = 1e-3, 0, 8
PACKED_TOKENS = 100
"""Tokens of one packed sequence, for each row of a batch: as many as an AG News row with its prompt has (98)."""
HELD_BATCH = 8
PAIRS = {
    "answer": ("bench-answer", "trl-answer"),
    "grouped": ("bench-answer", "trl-grouped"),
    "packed": ("bench-answer", "trl-packed"),
    "shared": ("bench-answer", "bench-padded"),
    "head": ("bench-head", "padded-head"),
    "peers": ("bench-answer", "trl-grouped", "trl-packed", "bench-before"),
    "bf16": ("bench-answer", "trl-grouped-bf16", "trl-packed-bf16"),
}
SHARING = ("bench-answer", "bench-padded", "bench-head")
"""Contenders that know how few tokens their batches could compute."""
MOVED = {
    "harness.task_loading": "harness.asking.plan",
    "harness.adapters.trainer": "harness.adapters.loop",
    "harness.adapters.training_examples": "harness.adapters.examples",
    "harness.prompting.chat_rendering": "harness.prompting.rendering",
}
"""Modules by today's name, and as commit dc00f7c has them."""


def texts(data: str, rows: int) -> tuple[list[Any], list[Any]]:
    """Training and held-out samples (a fifth as many), the same for everybody."""
    from harness.data.rows import DataSource
    from harness.data.sampling import seeded_order
    from harness.task_loading import load_rows, load_task

    samples = seeded_order(load_rows(load_task("agnews"), DataSource(location=data, split="train")), SEED)
    short = [s for s in samples if len(s.inputs["text"]) < 600]  # fits 128 tokens or nearly: nobody cuts an answer
    return short[:rows], short[rows : rows + rows // 5]


def fresh(args: argparse.Namespace, head: bool) -> tuple[Any, Any]:
    """The same untrained Llama and tokenizer (or --base, in float32 on a CPU) for every contender."""
    import torch
    import transformers

    transformers.set_seed(SEED)
    if args.base:
        made: Any = transformers.AutoModelForSequenceClassification if head else transformers.AutoModelForCausalLM
        dtype = torch.float32 if args.device == "cpu" else torch.bfloat16
        model = made.from_pretrained(args.base, dtype=dtype, use_cache=False, **({"num_labels": 4} if head else {}))
        return model.to(args.device), transformers.AutoTokenizer.from_pretrained(args.base)
    from tools.tiny_base import train_tokenizer

    rows, _ = texts(args.data, 20_000)  # a vocabulary that gives news about 50 tokens, as large models' do
    tokenizer = train_tokenizer((s.inputs["text"] for s in rows), 16_000)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.width,
        intermediate_size=args.width * 8 // 3,
        num_hidden_layers=args.layers,
        num_attention_heads=max(4, args.width // 64),
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=4,
        use_cache=False,
    )
    kind = transformers.LlamaForSequenceClassification if head else transformers.LlamaForCausalLM
    return kind(config).to(args.device), tokenizer


def lora(args: argparse.Namespace, head: bool) -> Any:
    from peft import LoraConfig

    kind = "SEQ_CLS" if head else "CAUSAL_LM"
    shape = {"r": LORA_R, "lora_alpha": 2 * LORA_R, "lora_dropout": args.dropout}
    return LoraConfig(task_type=kind, target_modules="all-linear", **shape)


def common(out: str, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "output_dir": out,
        "per_device_train_batch_size": args.batch,
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "optim": "adamw_torch",
        "seed": SEED,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "use_cpu": args.device == "cpu",
        "bf16": args.device != "cpu",
    }


def bench_trainer(args: argparse.Namespace, out: str, head: bool, shares: bool = True) -> Any:
    import transformers
    from peft import get_peft_model

    from harness.adapters.recipe import Recipe
    from harness.adapters.trainer import make_trainer
    from harness.adapters.training_examples import collate, encode
    from harness.prompting.chat_rendering import Renderer
    from harness.task_loading import load_task

    model, tokenizer = fresh(args, head)
    recipe = Recipe(objective="head" if head else "generate")
    examples, _ = encode(load_task("agnews"), texts(args.data, args.rows)[0], Renderer(tokenizer), recipe, 1024)
    settings = transformers.TrainingArguments(
        **common(out, args), remove_unused_columns=False, include_num_input_tokens_seen="non_padding"
    )
    trainer = make_trainer(get_peft_model(model, lora(args, head)), tokenizer, settings, examples, [], None, [])
    if not shares:
        trainer.data_collator = collate
    return trainer


def trl_trainer(args: argparse.Namespace, out: str, head: bool, way: str = "random", bf16: bool = False) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from harness.task_loading import build_request, load_task

    model, tokenizer = fresh(args, head)
    task = load_task("agnews")
    samples = texts(args.data, args.rows)[0]
    rows: list[dict[str, Any]] = [
        {"prompt": build_request(task, s).messages[0].content, "completion": f" {task.target(s)}"} for s in samples
    ]
    if tokenizer.chat_template:
        for row in rows:
            row["prompt"] = [{"role": "user", "content": row["prompt"]}]
            row["completion"] = [{"role": "assistant", "content": row["completion"].strip()}]
    settings = common(out, args) | ({"bf16": True} if bf16 else {})
    if way == "packed":
        packs = {"per_device_train_batch_size": 1, "packing": True, "max_length": PACKED_TOKENS * args.batch}
        settings |= packs
    if way == "grouped":
        settings["train_sampling_strategy"] = "group_by_length"
    return SFTTrainer(
        model=model,
        args=SFTConfig(**settings),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora(args, head),
    )


def padded_trainer(args: argparse.Namespace, out: str, head: bool) -> Any:
    """The article's way: every row padded to 128 tokens, rows in random order."""
    import transformers
    from peft import get_peft_model

    from harness.task_loading import load_task

    model, tokenizer = fresh(args, head)
    labels = load_task("agnews").labels
    samples = texts(args.data, args.rows)[0]
    padded = tokenizer(
        [s.inputs["text"] for s in samples],
        padding="max_length",
        truncation=True,
        max_length=128,
        padding_side="right",
        return_tensors="pt",
    )
    rows = [
        {**{k: v[i] for k, v in padded.items()}, "labels": labels.index(s.reference)} for i, s in enumerate(samples)
    ]
    return transformers.Trainer(
        model=get_peft_model(model, lora(args, head)),
        args=transformers.TrainingArguments(**common(out, args)),
        train_dataset=rows,
    )


MAKERS = {
    "bench-answer": bench_trainer,
    "trl-answer": trl_trainer,
    "bench-padded": functools.partial(bench_trainer, shares=False),
    "trl-grouped": functools.partial(trl_trainer, way="grouped"),
    "trl-packed": functools.partial(trl_trainer, way="packed"),
    "trl-grouped-bf16": functools.partial(trl_trainer, way="grouped", bf16=True),
    "trl-packed-bf16": functools.partial(trl_trainer, way="packed", bf16=True),
    "bench-before": bench_trainer,
    "bench-head": bench_trainer,
    "padded-head": padded_trainer,
}


def use_earlier_modules() -> None:
    """Let the modules of commit dc00f7c answer to the names that they have today."""
    for now, then in MOVED.items():
        sys.modules[now] = importlib.import_module(then)
    examples = sys.modules["harness.adapters.training_examples"]
    vars(examples)["collate"] = functools.partial(vars(examples)["collate"], pad=0)
    vars(sys.modules["harness.task_loading"])["build_request"] = vars(sys.modules["harness.task_loading"])["ask"]


def held_out_loss(model: Any, tokenizer: Any, held: list[Any], head: bool) -> float:
    """Cross-entropy a target token (a class) on rows nobody trained on, with Bench's own encoding."""
    import torch

    from harness.adapters.recipe import Recipe
    from harness.adapters.training_examples import IGNORED, collate, encode
    from harness.prompting.chat_rendering import Renderer
    from harness.task_loading import load_task

    recipe = Recipe(objective="head" if head else "generate")
    examples, _ = encode(load_task("agnews"), held, Renderer(tokenizer), recipe, 1024)
    summed, count = 0.0, 0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(examples), HELD_BATCH):
            batch = collate([{"input_ids": e} for e in examples[start : start + HELD_BATCH]])
            batch = {k: v.to(model.device) for k, v in batch.items()}
            labels = batch.pop("labels")
            columns = {} if head else {"logits_to_keep": labels.shape[1]}
            logits = model(**batch, **columns).logits.float().flatten(0, -2)
            summed += float(torch.nn.functional.cross_entropy(logits, labels.flatten(), reduction="sum"))
            count += int((labels != IGNORED).sum())
    return summed / count


def one(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Train once, in this process."""
    import torch

    if args.device == "cpu":
        torch.set_num_threads(1)
    head = name.endswith("head")
    if name == "bench-before":
        use_earlier_modules()
    with tempfile.TemporaryDirectory() as out:
        trainer = MAKERS[name](args, out, head)
        computed: list[int] = []
        embedding = trainer.accelerator.unwrap_model(trainer.model).get_input_embeddings()
        counting = embedding.register_forward_hook(lambda _module, inputs, _out: computed.append(inputs[0].numel()))
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        counting.remove()
        peak = torch.cuda.max_memory_allocated() if args.device != "cpu" else 1024 * _peak_kib()
        _, tokenizer = fresh(args, head)
        model = trainer.accelerator.unwrap_model(trainer.model)
        loss = held_out_loss(model, tokenizer, texts(args.data, args.rows)[1], head)
    found: dict[str, float] = {
        "wall_s": wall,
        "cpu_s": cpu,
        "rows_per_cpu_s": args.rows / cpu,
        "peak_mib": peak / 2**20,
        "loss": loss,
    }
    return found | {"tokens": sum(computed), "fewest": fewest_tokens(trainer) if name in SHARING else 0}


def fewest_tokens(trainer: Any) -> int:
    """Tokens of an epoch where each micro-batch computes its rows' longest common prefix once, and no padding."""
    from harness.adapters.shared_prefix import computed_tokens

    rows = [item["input_ids"] for item in trainer.train_dataset]
    return computed_tokens(rows, list(trainer.rows), trainer.args.train_batch_size)


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Interleaved pairs, medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--base", default="", help="a model folder, in place of an untrained Llama")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--objectives", default="answer,packed,head")
    parser.add_argument("--trl-python", default=sys.executable, help="interpreter that has TRL and Bench")
    parser.add_argument("--before-python", help="interpreter that has Bench at commit dc00f7c")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args)))
        return
    for objective in args.objectives.split(","):
        compare(objective, args)


def run(name: str, args: argparse.Namespace) -> dict[str, float]:
    """One contender in a process of its own, with the interpreter that has it."""
    python = args.trl_python if name.startswith("trl") else sys.executable
    command = [python, "-m", "benchmarks.training", "--one", name]
    if name == "bench-before":  # by its path: the folder of this checkout would hide the earlier modules
        command = [args.before_python, __file__, "--one", name]
    for key in ("data", "rows", "base", "batch", "dropout", "width", "layers", "device"):
        command += [f"--{key}", str(getattr(args, key))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} did not finish: {done.stderr.strip().splitlines()[-1]}")
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"    {name}: {json.dumps(said)}", file=sys.stderr, flush=True)
    return said


def compare(objective: str, args: argparse.Namespace) -> None:
    """One objective: every contender `--pairs` times, interleaved, and in turns of either direction."""
    found: dict[str, list[dict[str, float]]] = {
        name: [] for name in PAIRS[objective] if name != "bench-before" or args.before_python
    }
    for turn in range(args.pairs):
        for name in list(found)[:: 1 if turn % 2 == 0 else -1]:
            found[name].append(run(name, args))
    for name, runs in found.items():
        middle = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        print(
            f"{name:16} {middle['wall_s']:7.1f} s wall {middle['cpu_s']:7.1f} s CPU "
            f"{middle['rows_per_cpu_s']:7.2f} rows/CPU s {middle['peak_mib']:7.0f} MiB "
            f"{middle['tokens']:8.0f} tokens  held-out loss {middle['loss']:.4f}"
            + (f"  tokens / fewest {middle['tokens'] / middle['fewest']:.3f}" if middle["fewest"] else "")
        )
    ours, *others = found
    for other in others:
        for what in ("wall_s", "cpu_s"):
            ratios = sorted(o[what] / b[what] for b, o in zip(found[ours], found[other], strict=True))
            print(f"  {other}, ratio of {what}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
