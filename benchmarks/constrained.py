"""Constrained decoding libraries side by side: compiling a schema, then one token mask after another, on the CPU.

    python benchmarks/constrained.py --data agnews/test.csv

Measures those of llguidance, xgrammar and outlines-core that are installed, on a byte-level BPE of 32,768 tokens
trained on the rows. The document they follow is valid under the schema; per token: mask, then advance.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local import read_rows
from local_models import train_tokenizer
from transformers import PreTrainedTokenizerFast

SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "emotion": {"enum": ["happy", "sad", "neutral", "excited", "mad", "sarcastic"]},
        },
        "required": ["text", "emotion"],
        "additionalProperties": False,
    },
}


class Run:
    """Seconds for the tokenizer (once a model), for the schema (once a schema), and for each token."""

    def __init__(self, tokenizer_s: float, schema_s: float, tokens_s: list[float]) -> None:
        self.tokenizer_s = tokenizer_s
        self.schema_s = schema_s
        self.tokens_s = tokens_s


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def llguidance(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> Run:
    import torch
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    made, tokenizer_s = timed(lambda: from_tokenizer(tokenizer))
    matcher, schema_s = timed(lambda: LLMatcher(made, LLMatcher.grammar_from_json_schema(SCHEMA)))
    bits = torch.zeros(1, (len(tokenizer) + 31) // 32, dtype=torch.int32)
    tokens_s = []
    for token in ids:
        begun = time.perf_counter()
        matcher.unsafe_compute_mask_ptr(bits.data_ptr(), bits.numel() * 4)
        assert matcher.consume_token(token), "the document is valid"
        tokens_s.append(time.perf_counter() - begun)
    return Run(tokenizer_s, schema_s, tokens_s)


def xgrammar(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> Run:
    import xgrammar as xgr

    def compiler() -> Any:
        info = xgr.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
        return xgr.GrammarCompiler(info, max_threads=1)

    made, tokenizer_s = timed(compiler)
    compiled, schema_s = timed(lambda: made.compile_json_schema(json.dumps(SCHEMA)))
    matcher = xgr.GrammarMatcher(compiled)
    bits = xgr.allocate_token_bitmask(1, len(tokenizer))
    tokens_s = []
    for token in ids:
        begun = time.perf_counter()
        matcher.fill_next_token_bitmask(bits)
        assert matcher.accept_token(token), "the document is valid"
        tokens_s.append(time.perf_counter() - begun)
    return Run(tokenizer_s, schema_s, tokens_s)


def outlines_core(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> Run:
    import torch
    from outlines_core import Guide, Index, Vocabulary
    from outlines_core.json_schema import build_regex_from_schema

    def vocabulary() -> Any:
        decode = tokenizer.backend_tokenizer.decoder.decode
        words = {token: number for token, number in tokenizer.get_vocab().items() if number != tokenizer.eos_token_id}
        by_text: dict[str, list[int]] = {}
        for token, number in words.items():
            by_text.setdefault(decode([token]), []).append(number)
        return Vocabulary(tokenizer.eos_token_id, by_text)

    made, tokenizer_s = timed(vocabulary)
    guide, schema_s = timed(lambda: Guide(Index(build_regex_from_schema(json.dumps(SCHEMA)), made)))
    bits = torch.zeros((len(tokenizer) + 31) // 32, dtype=torch.int32)
    tokens_s = []
    for token in ids:
        begun = time.perf_counter()
        guide.write_mask_into(bits.data_ptr(), bits.numel(), bits.element_size())
        guide.advance(token)
        tokens_s.append(time.perf_counter() - begun)
    return Run(tokenizer_s, schema_s, tokens_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="AG News CSV: texts for tokenizer and document")
    args = parser.parse_args()
    texts = [text for _, text in read_rows(args.data)]
    tokenizer = train_tokenizer(texts, 32768)
    parts = [{"text": text[:200], "emotion": "neutral"} for text in texts[:12]]
    ids = tokenizer(json.dumps(parts, separators=(", ", ": ")))["input_ids"]
    print(f"{len(tokenizer)} tokens of vocabulary, a document of {len(ids)} tokens")
    print("| library | tokenizer s | schema ms | token us, median | token us, worst |")
    print("| --- | --- | --- | --- | --- |")
    for contender in (llguidance, xgrammar, outlines_core):
        try:
            run = contender(tokenizer, ids)
        except ImportError:
            print(f"| {contender.__name__} | not installed | | | |")
            continue
        middle, worst = statistics.median(run.tokens_s) * 1e6, max(run.tokens_s) * 1e6
        print(
            f"| {contender.__name__} | {run.tokenizer_s:.2f} | {run.schema_s * 1e3:.1f} | {middle:.0f} | {worst:.0f} |"
        )


if __name__ == "__main__":
    main()
