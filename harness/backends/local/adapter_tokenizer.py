"""The tokenizer that an adapter is asked with: the base's, or the one its folder brings from the training."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

from harness.backends.local.base_files import BaseFiles
from harness.backends.local.weight_loading import LOAD_ERRORS, first_line, load_tokenizer
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS, tensor_name
from harness.safetensors_header import read_header

EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
"""How the names of input embeddings end, in the architectures that adapters are trained for."""


class ChosenTokenizer(NamedTuple):
    """remarks: sentences on what differs from the base's tokenizer."""

    tokenizer: Any
    remarks: list[str]


def choose_tokenizer(base: Any, folder: Path | None, rows: int) -> ChosenTokenizer:
    """The tokenizer for an adapter. base: the base's own. folder: where the adapter's lies; None: it brings none.

    rows: embeddings that base and adapter have together. A training often adds a padding token without an embedding,
    which no prompt holds: such a tokenizer's chat template is taken, and the base's tokens are kept. Raises UsageError
    where the template prints a token that has no embedding.
    """
    if folder is None:
        return ChosenTokenizer(base, [])
    try:
        own = load_tokenizer(BaseFiles(str(folder), folder))
    except LOAD_ERRORS as error:
        return ChosenTokenizer(
            base, [f"the tokenizer in {folder} cannot be loaded ({first_line(error)}): the base's is used."]
        )
    template = getattr(own, "chat_template", None) or getattr(base, "chat_template", None)
    other_template = template != getattr(base, "chat_template", None)
    vocabulary, known = own.get_vocab(), base.get_vocab()
    without = sorted((token for token, number in vocabulary.items() if number >= rows), key=vocabulary.__getitem__)
    remarks = [f"{folder}: its own chat template is used, which differs from the base's."] if other_template else []
    if without:
        printed = [token for token in without if other_template and token in str(template)]
        if printed:
            raise UsageError(
                f"adapter {folder}: its chat template prints the token {printed[0]!r}, for which neither the base nor "
                "the adapter has an embedding: save the grown embeddings with it "
                "(model.save_pretrained(FOLDER, save_embedding_layers=True)), or name the base that has them."
            )
        named = ", ".join(map(repr, without[:3]))
        remarks.append(f"{folder}: {len(without)} tokens without embeddings ({named}) are left out of its tokenizer.")
        chosen = copy.copy(base) if other_template else base
    elif vocabulary != known:
        more = len(vocabulary) - len(known)
        remarks.append(f"{folder}: its own tokenizer is used ({more:+,} tokens against the base's).")
        chosen = own
    else:
        chosen = copy.copy(base) if other_template else base
    if other_template or chosen is own:
        chosen.chat_template = template
    return ChosenTokenizer(chosen, remarks)


def embedding_rows(adapter: Path | None, vocabulary: int) -> int:
    """Input embeddings under an adapter: those that it brings (grown ones), else the base's `vocabulary`."""
    if adapter is None:
        return vocabulary
    for name, tensor in read_header(adapter / WEIGHTS).items():
        if tensor_name(name).endswith(EMBEDDINGS) and len(tensor.shape) == 2:
            return tensor.shape[0]
    return vocabulary
