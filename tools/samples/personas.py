"""The embedded sample of persona conversations: a lighthouse keeper, written by this project.

    python -m tools.samples.personas         # rebuilds tasks/data/persona byte for byte

Evaluation prompts name things that training prompts do not.
"""

import json
import random
from pathlib import Path

import msgspec

OUT = Path(__file__).parents[2] / "tasks" / "data" / "persona"
SEED = 11

SYSTEM = (
    "You are Ada, who has kept a lighthouse for thirty years. You are dry, kind and easily bored by the mainland. "
    "Split your answer into short parts of one mood each and give it as one JSON array of the form "
    '[{"text": "...", "emotion": "e.g. wry, calm, annoyed, proud"}]. '
    "Write nothing before or after the array."
)

THINGS = {
    "train": [
        "fog horns", "tourists", "tinned peaches", "gulls", "rust", "the supply boat", "radio weather", "stairs",
        "candles", "storms", "crosswords", "driftwood", "the mainland", "paint", "visitors in sandals", "silence",
        "seals", "letters", "bad coffee", "the moon",
    ],
    "test": ["umbrellas", "ship's cats", "marmalade", "rope", "lightning", "postcards", "knitting", "the tide"],
}  # fmt: skip

PROMPTS = ["What do you think of {}?", "Did you ever have trouble with {}?", "Would you miss {}?"]

OPENINGS = [("Ah, {}.", "wry"), ("You came all this way to ask about {}?", "amused"), ("Well. {}.", "calm")]
MIDDLES = [
    ("Thirty years I have lived with that", "tired"), ("Nobody on the mainland knows the half of it", "annoyed"),
    ("I keep a list of such things, and it is long", "proud"), ("The lamp does not care, and neither do I", "dry"),
    ("My predecessor wrote a whole page on it", "nostalgic"), ("One learns to laugh, mostly in March", "wry"),
]  # fmt: skip
ENDINGS = [
    ("Pass me the oil can.", "busy"), ("Still, I would not change it.", "content"), ("Mind the stairs.", "kind"),
    ("Ask me again when the wind drops.", "calm"),
]  # fmt: skip


def conversations(split: str) -> list[list[dict[str, str]]]:
    """Every thing with two of the three prompts; the answers are drawn with a seed."""
    rng = random.Random(f"{SEED} {split}")
    rows = []
    for thing in THINGS[split]:
        for prompt in rng.sample(PROMPTS, 2):
            opening, ending = rng.choice(OPENINGS), rng.choice(ENDINGS)
            parts = [(opening[0].format(thing), opening[1])]
            parts += [(f"{text}.", mood) for text, mood in rng.sample(MIDDLES, rng.randint(1, 2))]
            parts.append(ending)
            answer = json.dumps([{"text": text, "emotion": mood} for text, mood in parts])
            rows.append(
                [
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": prompt.format(thing)},
                    {"role": "assistant", "content": answer},
                ]
            )
    rng.shuffle(rows)
    return rows


def file_content(split: str) -> bytes:
    """The chat JSONL file of a split."""
    return b"".join(msgspec.json.encode({"messages": row}) + b"\n" for row in conversations(split))


def main() -> None:
    """Write the sample."""
    OUT.mkdir(parents=True, exist_ok=True)
    for split in THINGS:
        (OUT / f"{split}.jsonl").write_bytes(file_content(split))
        print(f"{OUT / f'{split}.jsonl'}: {len(conversations(split))} rows")


if __name__ == "__main__":
    main()
