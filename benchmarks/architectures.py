"""What the local engine and the trainer make of each architecture: the table of docs/local-models.md.

    python -m benchmarks.architectures                     # choose, generate, head: all that have a tiny configuration
    python -m benchmarks.architectures --train llama gpt2  # and train two steps, ask, merge, tie, split into shards

Every model is tiny and random. "=" means equal to one-row transformers (scores within 1e-4, no label or text differs)
in batches, "= alone" the same row by row.
"""

import argparse
import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from rich.console import Console

from harness.adapters.lora_training import train
from harness.adapters.merging import merge
from harness.adapters.train_options import TrainOptions
from harness.errors import BenchError
from harness.workspace import Workspace
from tests.local.asking import ask
from tests.local.equality import Compared, compare_choose, compare_generate, compare_head, made_for
from tests.support.tiny_architectures import MISSING, NAMES, tiny_model
from tests.support.tiny_llama import news_requests, tokenizer

STEPS = ("max_steps=2", "validation_rows=4", "batch=4", "accumulate=1", "max_length=400", "too_long=cut")


def mark(compare: Callable[[], Compared | None]) -> str:
    """A cell of the table."""
    try:
        found = compare()
    except BenchError as error:
        return f"refused: {str(error)[:60]}"
    if found is None:
        return "-"
    if found.difference > 1e-4 or found.differ:
        return f"DIFFERS ({found.difference:.0e}, {found.differ} rows)"
    return "=" if found.batched else "= alone"


def trained(name: str, folder: Path) -> list[str]:
    """Cells: train and ask, merge, tied embeddings, shards."""
    made = tokenizer()
    cells = []
    bases = {}
    for tied in (False, True):
        bases[tied] = base = folder / f"tied-{tied}"
        model = tiny_model(name, len(made), tie_word_embeddings=tied)
        model.save_pretrained(base, max_shard_size="100KB" if tied else "1GB")
        made.save_pretrained(base)
    workspace = Workspace(folder)
    asked = news_requests(3)
    for base in bases.values():
        said = Console(file=io.StringIO())
        wanted = TrainOptions(task="agnews", base=str(base), data="embedded", limit=24, overrides=STEPS)
        try:
            adapter, _ = train(wanted, workspace, said)
            tuned = ask(workspace, asked, model=str(base), adapter=str(adapter), decode="choose")
            cells.append("yes" if all(a.error is None for a in tuned.values()) else "FAILS")
            whole = merge(adapter, folder / f"merged-{base.name}", rows=4).folder
            alone = ask(workspace, asked, model=str(whole), decode="choose")
            same = all(alone[k].text == answer.text for k, answer in tuned.items())
            cells.append("=" if same else "DIFFERS")
        except BenchError as error:
            cells.append(f"refused: {str(error)[:80]}")
    shards = len(list(bases[True].glob("*.safetensors")))
    return [*cells, f"{shards} files"]


def main() -> int:
    """Print a line for each architecture; 1 where a cell differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    wrong = False
    for name in options.names or [n for n in NAMES if n not in MISSING]:
        model, made = made_for(name)
        cells = [
            mark(lambda m=model, t=made: compare_choose(m, t)),  # type: ignore[misc]
            mark(lambda m=model, t=made: compare_generate(m, t)),  # type: ignore[misc]
            mark(lambda n=name, t=made: compare_head(n, t)),  # type: ignore[misc]
        ]
        if options.train:
            with tempfile.TemporaryDirectory() as folder:
                cells += trained(name, Path(folder))
        wrong |= any("DIFFERS" in cell or "FAILS" in cell for cell in cells)
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
