"""What a teacher is asked so that it invents conversation starters for a persona."""

import json
import random
from collections.abc import Iterable, Iterator

from harness.answers.labels import NOT_AN_ANSWER, answer_text
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.metrics import FORMAT_ERROR_RATE, Metric
from harness.prompting.user_message import user_message
from harness.records import Completion, Request, Sample, Score

PER_REQUEST = 10
LONGEST = 300

THEMES = (
    "airports", "birthdays", "breakfast", "cars", "cinemas", "cleaning", "coffee", "concerts", "cooking", "dentists",
    "dogs", "doors", "elections", "exams", "fashion", "festivals", "friends", "gardens", "gyms", "haircuts",
    "holidays", "hotels", "invitations", "jokes", "letters", "lifts", "markets", "money", "museums", "music",
    "neighbours", "newspapers", "offices", "parents", "parking", "phones", "photographs", "presents", "queues", "rain",
    "restaurants", "sleep", "small talk", "sports", "supermarkets", "taxis", "teachers", "trains", "weddings", "winter",
)  # fmt: skip


class Starters:
    """Asks a teacher for things people might say to a persona; an answer is a JSON array of strings."""

    name = "persona-json-starters"
    version = "1"
    labels: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = (FORMAT_ERROR_RATE,)
    recipe = ""

    def __init__(self, system: str) -> None:
        self.system = system

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Invented, not read."""
        raise UsageError("conversation starters are invented by a teacher: bench data generate.")

    def questions(self, count: int, seed: int) -> list[Sample]:
        """Enough requests for `count` starters and half as many again, each about two themes of its own."""
        rng = random.Random(seed)
        found: dict[str, Sample] = {}
        while len(found) < max(1, -(-count * 3 // (2 * PER_REQUEST))):
            themes = " and ".join(rng.sample(THEMES, 2))
            part = str(len(found))
            found[part] = Sample.of({"system": self.system, "themes": themes, "part": part}, "", "teacher")
        return list(found.values())

    def request(self, sample: Sample) -> Request:
        """The persona and the themes."""
        head = (
            f"Below is the instruction of a persona. Write {PER_REQUEST} different things that people might say or ask "
            "to start a conversation with it, one sentence each, on the themes "
        )
        tail = f". Answer with one JSON array of strings and nothing else.\n\n{self.system}".rstrip()
        messages, passages = user_message(head, (sample.inputs["themes"], tail))
        return Request(id=sample.id, messages=messages, passages=passages, max_tokens=1024)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Well formed when at least one starter can be read."""
        kind = NOT_AN_ANSWER.get(completion.finish or "")
        starters = [] if kind else list(read_starters(answer_text(completion)))
        if not starters:
            return Score(format=kind or "no starters")
        return Score(answer=json.dumps(starters, ensure_ascii=False))

    def target(self, sample: Sample) -> str:
        """Teachers are not trained here."""
        raise UsageError("teachers are not trained.")

    def invented(self, answer: str) -> list[Sample]:
        """The rows that an answer, as scored, stands for: without a reference yet."""
        return [Sample.of({"system": self.system, "user": text}, "", "teacher") for text in json.loads(answer)]


def read_starters(text: str) -> Iterator[str]:
    """The strings of the first JSON array in an answer; too short and too long ones are left out. Never raises."""
    start = text.find("[")
    if start < 0:
        return
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return
    for one in found if isinstance(found, list) else []:
        if isinstance(one, str) and 3 <= len(one.strip()) <= LONGEST:
            yield " ".join(one.encode("utf-8", "replace").decode().split())
