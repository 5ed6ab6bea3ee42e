"""How near answers stand to their references in meaning, as a run directory keeps it: measured after the answering,
read with every line of the log."""

from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.files import write_json
from harness.metrics import Metric
from harness.records import Record

FILE = "likeness.json"
NAME = "embedding"


class Likeness(Record, frozen=True, kw_only=True, omit_defaults=False):
    """`likeness.json`.

    model: the embedding model as named; sha256: of its weights; most_tokens: longer texts are compared by their
    beginning. values: backend -> (n, repeat, cosine of answer and reference); an answer without text has 0.
    why_not: in a sentence, why nothing could be measured (then there are no values).
    """

    schema: int = 1
    model: str
    sha256: str = ""
    most_tokens: int | None = None
    values: dict[str, tuple[tuple[int, int, float], ...]] = {}
    why_not: str = ""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metric; none where nothing was measured. Its version is the weights': values of two models never meet."""
        if self.why_not:
            return ()
        version = int(self.sha256[:7], 16)
        return (
            Metric(
                name=NAME,
                row_value=NAME,
                proportion=False,
                version=version,
                model=self.model,
                low=-1.0,
                high=1.0,
            ),
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the summary must know."""
        return (f"{NAME} was not computed: {self.why_not}",) if self.why_not else ()


def write_likeness(run: Path, likeness: Likeness) -> None:
    """Keep in a run directory what was measured."""
    write_json(run / FILE, likeness)


def read_likeness(run: Path) -> Likeness | None:
    """What was measured; None where nobody asked. Raises UsageError for a file that is not readable."""
    path = run / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Likeness)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is not readable ({error}): remove it, and ask again with --embedding.") from None
