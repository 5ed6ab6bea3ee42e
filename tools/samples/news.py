"""The embedded news sample: rows that this project wrote, for trying Bench without a network.

    python -m tools.samples.news            # rebuilds tasks/data/news byte for byte

Rows are generated from `tools/samples/grammar`. Evaluation rows use names and phrases that training rows do not
share, and one in four rows is hard: its words point to another topic (a club's share sale is Business).
No row comes from AG News.
"""

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tools.samples.news_grammar import FILES, Pool, Story, Writer, lexicon, topic

OUT = Path(__file__).parents[2] / "tasks" / "data" / "news"
SEED = 20
ROWS: dict[Pool, int] = {"train": 2500, "test": 500}
HARD_SHARE = 0.25
WORDS = range(15, 46)


def item(rng: random.Random, pool: Pool, label: str) -> str:
    """One news item: a title line and a body of 1 to 3 sentences, 15 to 45 words together."""
    while True:
        text = _draft(rng, pool, label)
        if len(text.split()) in WORDS:
            return text


def _draft(rng: random.Random, pool: Pool, label: str) -> str:
    said = topic(label, pool)
    story: Story = rng.choice(said.hard if rng.random() < HARD_SHARE else said.plain)
    writer = Writer(rng, pool)
    title = writer.fill(rng.choice(story.titles))
    body = [writer.fill(rng.choice(story.leads))]
    if rng.random() < 0.3:
        body[0] = f"{writer.fill('{city}').upper()} - {body[0]}"
    if rng.random() < 0.6:
        body.append(writer.fill(rng.choice(story.tails)))
    if rng.random() < 0.5:
        body.append(writer.fill(rng.choice(said.tails)))
    return f"{title}\n{' '.join(body)}"


def items(pool: Pool, seed: int) -> Iterator[tuple[str, str]]:
    """Endless distinct (text, label) pairs of a pool, labels in turn; the same seed gives the same items."""
    rng = random.Random(f"{pool} {seed}")
    seen: set[str] = set()
    while True:
        for label in FILES:
            text = item(rng, pool, label)
            while text in seen:
                text = item(rng, pool, label)
            seen.add(text)
            yield text, label


def pretraining_texts(count: int, seed: int) -> list[str]:
    """Texts without labels for pretraining the tiny base model: names and seed of their own.

    Half are news items, half free sentences over the words of one field.
    """
    source = items("base", seed)
    rng = random.Random(f"free {seed}")
    texts = [next(source)[0] for _ in range(count // 2)]
    texts += [free_text(rng, rng.choice(list(FILES))) for _ in range(count - count // 2)]
    rng.shuffle(texts)
    return texts


def free_text(rng: random.Random, label: str) -> str:
    """A title and 2 to 4 free sentences over the words of a label's field."""
    words = lexicon()

    def sentence(kind: str) -> str:
        return Writer(rng, "base", words[label]).fill(rng.choice(words[kind]))

    return f"{sentence('titles')}\n{' '.join(sentence('frames') for _ in range(rng.randint(2, 4)))}"


def file_content(pool: Pool, seed: int = SEED) -> bytes:
    """`train.jsonl` or `test.jsonl`, one {"text", "label"} a line, classes in equal numbers."""
    source = items(pool, seed)
    rows = [next(source) for _ in range(ROWS[pool])]
    random.Random(seed).shuffle(rows)
    return b"".join(msgspec.json.encode({"text": text, "label": label}) + b"\n" for text, label in rows)


def word_ngrams(texts: list[str], n: int) -> set[tuple[str, ...]]:
    """All runs of n words (letters and digits, lower case) in some texts."""
    found: set[tuple[str, ...]] = set()
    for text in texts:
        words = re.findall(r"[^\W_]+", text.lower())
        found.update(zip(*(words[k:] for k in range(n)), strict=False))
    return found


def overlap(train: list[str], test: list[str], n: int) -> float:
    """Share of the distinct word n-grams of `test` that stand in `train` too."""
    asked = word_ngrams(test, n)
    return len(asked & word_ngrams(train, n)) / len(asked)


def main() -> None:
    """Write the sample and say how much evaluation shares with training."""
    parser = argparse.ArgumentParser(description="Rebuild the embedded news sample.")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write train.jsonl and test.jsonl to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    texts: dict[Pool, list[str]] = {}
    for pool in ROWS:
        content = file_content(pool)
        (out / f"{pool}.jsonl").write_bytes(content)
        texts[pool] = [msgspec.json.decode(line)["text"] for line in content.splitlines()]
        print(f"{out / f'{pool}.jsonl'}: {len(texts[pool])} rows")
    for n in (1, 2, 3, 4):
        print(f"evaluation shares {overlap(texts['train'], texts['test'], n):.0%} of its {n}-word runs with training")


if __name__ == "__main__":
    main()
