"""What a cascade's stages have answered and passed on, kept in its state folder: a resumed run pays nothing twice."""

from pathlib import Path
from typing import BinaryIO

import msgspec

from harness.records import Completion, Cost, Record
from harness.runs.log_lines import cut_torn_tail, read_lines

FILE = "passed_on.jsonl"


class PassedOn(Record, frozen=True, kw_only=True):
    """One line: an answer that a stage passed on, or (without a stage) that all earlier ones of a request are in the
    cascade's log.

    id, repeat: of the request. stage: number of the stage that answered. completion: its answer.
    """

    id: str
    repeat: int = 0
    stage: int | None = None
    completion: Completion | None = None


class PassedOnAnswers:
    """The answers that were passed on, by request; appended with one write each, read back when a run is resumed.

    folder: None keeps nothing (a latency probe asks every stage again).
    """

    def __init__(self, folder: Path | None) -> None:
        self._found: dict[tuple[str, int], list[Completion]] = {}
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO | None = None
        if folder is not None:
            path = folder / FILE
            self._file = path.open("ab+", buffering=0)
            cut_torn_tail(self._file)
            for line in read_lines(path, msgspec.json.Decoder(PassedOn)):
                self._take(line)

    def _take(self, line: PassedOn) -> None:
        key = line.id, line.repeat
        answers = self._found.setdefault(key, [])
        if line.stage is None:
            self._found[key] = [_paid(answer) for answer in answers]
        elif line.completion is not None and line.stage == len(answers):
            answers.append(line.completion)

    def of(self, key: tuple[str, int]) -> list[Completion]:
        """The answers of the first stages to a request, in order; what an earlier line of the log has booked costs
        nothing again."""
        return list(self._found.get(key, ()))

    def add(self, stage: int, completion: Completion) -> None:
        """Keep an answer before the next stage is asked."""
        self._write(PassedOn(id=completion.id, repeat=completion.repeat, stage=stage, completion=completion))

    def booked(self, key: tuple[str, int]) -> None:
        """The costs of a request's kept answers are in a line that goes to the log now, which will be asked again."""
        self._write(PassedOn(id=key[0], repeat=key[1]))

    def _write(self, line: PassedOn) -> None:
        if self._file is not None:
            self._file.write(self._encoder.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _paid(completion: Completion) -> Completion:
    return msgspec.structs.replace(completion, cost=Cost(list=completion.cost.list, incurred=0.0))
