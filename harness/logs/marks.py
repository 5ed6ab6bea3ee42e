"""What a log says of its requests without their answers, as arrays: millions of lines in little memory."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from harness.logs.lines import read_lines
from harness.records import Cost

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Marks:
    """The lines of one file in the order of writing: rows and repeats they answer, which of them ended in an
    infrastructure error, and USD paid (nan: unknown)."""

    n: NDArray[np.int64]
    repeat: NDArray[np.int64]
    failed: NDArray[np.bool_]
    paid: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.n)


class _Something(msgspec.Struct):
    """Whatever it holds."""


_Position = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class _Mark(msgspec.Struct):
    """The fields of a line that are looked at."""

    n: _Position
    repeat: _Position = 0
    error: _Something | None = None
    cost: Cost = Cost()


def marks_of_lines(path: Path) -> Marks:
    """Of a file of JSON lines. Raises UsageError (file, line)."""
    import numpy as np

    n, repeat, failed, paid = array("q"), array("q"), array("b"), array("d")
    for mark in read_lines(path, msgspec.json.Decoder(_Mark)):
        n.append(mark.n)
        repeat.append(mark.repeat)
        failed.append(mark.error is not None)
        paid.append(float("nan") if mark.cost.incurred is None else mark.cost.incurred)
    return Marks(
        n=np.frombuffer(n, dtype=np.int64),
        repeat=np.frombuffer(repeat, dtype=np.int64),
        failed=np.frombuffer(failed, dtype=np.bool_),
        paid=np.frombuffer(paid, dtype=np.float64),
    )
