"""How many rows would probably settle a question that the present ones leave open."""

import math
from typing import NamedTuple

from scipy.special import ndtri

from harness.statistics.noninferiority import ALPHA
from harness.statistics.power import rows_for_margin


class RowsNeeded(NamedTuple):
    """Rows in all that decide with 80 % power if the figures stay as they are, and whether for the candidate."""

    rows: int
    to_pass: bool


def rows_needed(gain: float, variance: float, margin: float) -> RowsNeeded | None:
    """The smaller of both routes: to show that the loss stays below the margin, or to show a loss at all.

    gain: candidate minus incumbent, better is positive; variance: of a row's difference. None where neither route ends
    (no loss and no gain can be told from no variance).
    """
    loss = max(0.0, -gain)
    if not variance > 0:  # nothing differs: Tango's bound of 0 out of n is z^2 / (n + z^2)
        z = float(ndtri(1 - ALPHA))
        return RowsNeeded(math.ceil(z * z * (1 - margin) / margin), to_pass=True)
    routes = []
    if loss < margin and (rows := rows_for_margin(margin, variance, loss)) is not None:
        routes.append(RowsNeeded(rows, to_pass=True))
    if loss > 0 and (rows := rows_for_margin(loss, variance, 0.0)) is not None:
        routes.append(RowsNeeded(rows, to_pass=False))
    return min(routes, default=None)
