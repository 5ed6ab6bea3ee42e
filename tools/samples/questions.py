"""The embedded sample of question pairs: written by this project, no row comes from Quora.

    python -m tools.samples.questions        # rebuilds tasks/data/qqp byte for byte

Two wordings of one intention about one subject are duplicates; the same subject with another intention, or the
same intention about another subject, are not. Evaluation asks about subjects that training does not name.
"""

import itertools
import random
from pathlib import Path

import msgspec

OUT = Path(__file__).parents[2] / "tasks" / "data" / "qqp"
SEED = 7

SUBJECTS = {
    "train": [
        "bread dough", "a mountain bike", "tomato plants", "a violin", "wool pullovers", "a sailing boat", "beehives",
        "a chess clock", "a cast-iron pan", "watercolours", "a wooden floor", "running shoes", "a telescope",
        "pressed flowers", "a typewriter", "home-made cheese", "a rain barrel", "bonsai trees", "a sewing machine",
        "model railways", "a wood stove", "aquarium fish", "an old piano", "rose bushes", "a camping tent",
        "stamp albums", "a bread oven", "a canoe", "pottery glazes", "a vegetable patch", "straw hats", "a hammock",
    ],
    "test": [
        "roller skates", "a greenhouse", "sourdough crackers", "a ukulele", "leather boots", "fountain pens",
        "a compost heap", "paper lanterns", "a wheelbarrow", "a kitchen scale", "candle wax", "a bird feeder",
        "linen curtains", "a unicycle", "dried mushrooms", "a stone wall", "goldfish", "a barometer",
    ],
}  # fmt: skip

INTENTIONS = {
    "begin": [
        "How do I get started with {}?",
        "What should a beginner know about {}?",
        "Where does one begin with {}?",
    ],
    "care": ["How do I take care of {}?", "What is the right way to look after {}?", "How should {} be maintained?"],
    "cost": ["How much money does one spend on {} in a year?", "What does {} cost over a year?"],
    "winter": ["What happens to {} in winter?", "How does cold weather affect {}?"],
    "mistakes": ["Which mistakes do people make with {}?", "What do most people get wrong about {}?"],
    "sell": ["Where can I sell {}?", "Which places buy {} second-hand?"],
}

MEANS = {
    "begin": "how to begin", "care": "how to look after it", "cost": "what it costs", "winter": "the effect of cold",
    "mistakes": "common mistakes", "sell": "where to sell it",
}  # fmt: skip

ROWS = {"train": 160, "test": 60}
SHARING = 0.12
"""How readily a question that another pair asks is asked again."""

Pair = tuple[str, str, str, str, str, str]
"""(subject, intention, wording) of the first question, then of the second."""


def pairs(split: str) -> list[dict[str, str | int]]:
    """The rows of a split: half duplicates, half not, each with a one-sentence explanation."""
    rng = random.Random(f"{SEED} {split}")
    subjects = SUBJECTS[split]
    same = [
        (s, k, a, s, k, b) for s in subjects for k, w in INTENTIONS.items() for a, b in itertools.combinations(w, 2)
    ]
    other_intention = [
        (s, k, rng.choice(INTENTIONS[k]), s, j, rng.choice(INTENTIONS[j]))
        for s in subjects
        for k, j in itertools.combinations(INTENTIONS, 2)
    ]
    other_subject = [
        (s, k, rng.choice(words), t, k, rng.choice(words))
        for k, words in INTENTIONS.items()
        for s, t in itertools.combinations(subjects, 2)
    ]
    half = ROWS[split] // 2
    used: set[str] = set()
    chosen = _drawn(rng, same, half, used)
    chosen += _drawn(rng, other_intention, half // 2, used) + _drawn(rng, other_subject, half - half // 2, used)
    rng.shuffle(chosen)
    return [_row(*pair) for pair in chosen]


def _drawn(rng: random.Random, pairs: list[Pair], count: int, used: set[str]) -> list[Pair]:
    """Pairs in random order; most ask questions that no other pair asks, some share one, as Quora's do."""
    chosen: list[Pair] = []
    for pair in rng.sample(pairs, len(pairs)):
        questions = {pair[2].format(pair[0]), pair[5].format(pair[3])}
        if len(chosen) < count and (not questions & used or rng.random() < SHARING):
            chosen.append(pair)
            used |= questions
    return chosen


def _row(subject: str, intention: str, first: str, other: str, meaning: str, second: str) -> dict[str, str | int]:
    same = (subject, intention) == (other, meaning)
    if same:
        why = f"Both questions are about {subject} and ask {MEANS[intention]}."
    elif subject == other:
        why = f"Both are about {subject}, but one asks {MEANS[intention]} and the other {MEANS[meaning]}."
    else:
        why = f"Both ask {MEANS[intention]}, but one is about {subject} and the other about {other}."
    return {
        "question1": first.format(subject),
        "question2": second.format(other),
        "label": int(same),
        "explanation": why,
    }


def file_content(split: str) -> bytes:
    """The JSONL file of a split."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in pairs(split))


def main() -> None:
    """Write the sample."""
    OUT.mkdir(parents=True, exist_ok=True)
    for split in ROWS:
        (OUT / f"{split}.jsonl").write_bytes(file_content(split))
        print(f"{OUT / f'{split}.jsonl'}: {len(pairs(split))} rows")


if __name__ == "__main__":
    main()
