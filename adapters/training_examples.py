"""From rows to tokens, once: the very prompt ids that `run` sends, the answer, and the end token."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Sampler

from harness.adapters.recipe import Recipe
from harness.errors import DataError
from harness.prompting.chat_rendering import Renderer
from harness.records import Sample
from harness.task import Task
from harness.task_loading import build_request

IGNORED = -100
"""The label of positions that carry no loss."""

MEGABATCH = 50
"""Batches sorted by length together: enough to find neighbours of equal length, few enough to stay random."""


class Example(NamedTuple):
    """One training row: prompt tokens and answer tokens with the end token; `label` is the class (head)."""

    prompt: list[int]
    answer: list[int]
    label: int = IGNORED

    @property
    def tokens(self) -> int:
        """Tokens the model reads: the last answer token is only predicted."""
        return len(self.prompt) + max(0, len(self.answer) - 1)


def encode(
    task: Task, samples: list[Sample], renderer: Renderer, recipe: Recipe, context: int
) -> tuple[list[Example], list[str]]:
    """Tokenise rows. Returns the examples and remarks; raises UsageError for rows too long (unless options say
    otherwise).
    """
    room = min(recipe.max_length or context, context)
    requests = [build_request(task, sample) for sample in samples]
    if recipe.objective == "head":
        prompts = renderer.passage_prompts(requests, room if recipe.too_long == "cut" else 1 << 30)
        number = {label: n for n, label in enumerate(task.labels)}
        examples = [Example(p.ids, [], number[task.target(s)]) for p, s in zip(prompts, samples, strict=True)]
    else:
        targets = [renderer.answer_of(request, task.target(s)) for request, s in zip(requests, samples, strict=True)]
        answers = [[*renderer.encode_answer(target), renderer.end_id] for target in targets]
        rooms = [room - len(a) + 1 if recipe.too_long == "cut" else 1 << 30 for a in answers]
        prompts = renderer.prompts(requests, rooms)
        examples = [Example(p.ids, a) for p, a in zip(prompts, answers, strict=True)]
    return _fitting(examples, room, recipe, sum(p.truncated for p in prompts))


def _fitting(examples: list[Example], room: int, recipe: Recipe, cut: int) -> tuple[list[Example], list[str]]:
    fitting = [e for e in examples if e.tokens <= room]
    over = len(examples) - len(fitting)
    remarks = [f"{cut} of {len(examples)} prompts were cut to {room} tokens."] if cut else []
    if not over:
        return fitting, remarks
    longest = max(e.tokens for e in examples)
    if recipe.too_long == "refuse":
        raise DataError(
            f"{over} of {len(examples)} training rows need more than {room} tokens (the longest {longest}): "
            "raise max_length where the base's context allows, or choose --set too_long=drop or too_long=cut."
        )
    return fitting, [*remarks, f"{over} of {len(examples)} rows need more than {room} tokens and are left out."]


def collate(examples: Sequence[dict[str, Example]]) -> dict[str, torch.Tensor]:
    """A batch, padded on the left so that all answers end in the last column.

    Padding is known by position (`attention_mask` 0, label IGNORED), never by its token, so a base whose tokenizer has
    no padding token, or whose padding token is its end token, trains like any other.

    "input_ids", "attention_mask", "position_ids": [rows, columns]. "labels": for answers [rows, longest
    answer], what the last columns predict; for a head [rows], the classes.
    """
    rows = [e["input_ids"] for e in examples]
    width = max(r.tokens for r in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)  # a masked position may hold any token
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    longest = max(len(r.answer) for r in rows)
    labels = torch.full((len(rows), longest), IGNORED)
    for i, row in enumerate(rows):
        ids[i, width - row.tokens :] = torch.tensor(row.prompt + row.answer[:-1])
        mask[i, width - row.tokens :] = 1
        if longest:
            labels[i, longest - len(row.answer) :] = torch.tensor(row.answer)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        "labels": labels if longest else torch.tensor([r.label for r in rows]),
    }


class GroupedByLength(Sampler[int]):
    """A seeded order, new in each epoch, in which the rows of a batch have nearly the same length.

    Its randomness is its own: after a resume the order is what it would have been. fill: the order is filled up
    to a multiple of this with the number after the last row (a row without loss), so that several processes get
    equally many batches and yet the rows of every step are those of one process.
    """

    def __init__(self, lengths: list[int], batch: int, seed: int, fill: int = 1) -> None:
        self.lengths = lengths
        self.batch = batch
        self.seed = seed
        self.fill = -len(lengths) % fill
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop at the beginning of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) + self.fill

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        span = self.batch * MEGABATCH
        for start in range(0, len(order), span):
            mega = sorted(order[start : start + span], key=lambda i: -self.lengths[i])
            batches = [mega[i : i + self.batch] for i in range(0, len(mega), self.batch)]
            short = batches.pop() if len(batches[-1]) < self.batch else []  # only the very last may be short
            for n in torch.randperm(len(batches), generator=generator).tolist():
                yield from batches[n]
            yield from short
        yield from [len(self.lengths)] * self.fill


def padding_share(lengths: list[int], batch: int, order: Sequence[int]) -> float:
    """Share of the computed token positions that are padding, for rows batched in `order`."""
    computed = 0
    for start in range(0, len(order), batch):
        rows = [lengths[i] for i in order[start : start + batch]]
        computed += max(rows) * len(rows)
    return 1 - sum(lengths) / computed if computed else 0.0


def blank(example: Example) -> Example:
    """A row of one token that nothing is learned from."""
    token = (example.prompt + example.answer)[:1]
    return Example(token, [IGNORED] if example.answer else [])


def as_items(examples: list[Example]) -> list[dict[str, Any]]:
    """What the training loop's data loader indexes."""
    return [{"input_ids": e} for e in examples]
