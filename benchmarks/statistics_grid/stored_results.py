"""Stored results, one JSON file a part, and the tables that docs/statistics.md holds of them."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from .measure import ALPHA, COVERAGE, ENDINGS, Cell

HERE = Path(__file__).parent
FOLDERS = {"before": HERE / "results" / "before", "after": HERE / "results" / "after"}
PAGE = HERE.parents[1] / "docs" / "statistics.md"
BEGIN = "<!-- simulations: written by `python -m benchmarks.statistics_grid --write-docs` -->"
END = "<!-- end of simulations -->"
TITLES = {
    "accuracy": "Accuracy",
    "format_errors": "Format errors and limits",
    "repeats": "Repeats",
    "macro_f1": "Functions of the confusion table",
    "graded": "Graded scores",
    "groups": "Groups",
    "ordering": "Row order: early stop and `--limit`",
    "judging": "Judges",
    "latency_and_cost": "Latency and cost",
}
HEAD = (
    "| data | size | false pass before | after | lowest coverage before | after | equals pass before | after |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One part as it is stored. runs: of a cheap cell; draws: of a bootstrap; seconds: of processor time."""

    part: str
    commit: str
    date: str
    runs: int
    draws: int
    seconds: float
    cells: tuple[Cell, ...]

    def store(self, folder: Path) -> None:
        """Write `<part>.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(self), indent=1)
        (folder / f"{self.part}.json").write_bytes(text + b"\n")


def stored(folder: Path) -> dict[str, Result]:
    """The results of a folder by part."""
    found = (msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(folder.glob("*.json")))
    return {result.part: result for result in found}


def tables() -> str:
    """One table a part, before and after, with a line on what was measured."""
    sides = [stored(folder) for folder in FOLDERS.values()]
    found = []
    for part, title in TITLES.items():
        results = [side.get(part) for side in sides]
        if not any(results):
            continue
        measured = "; ".join(
            f"{name} {r.commit} ({r.date}, {r.runs:,} runs of a cheap cell)"
            for name, r in zip(FOLDERS, results, strict=True)
            if r is not None
        )
        lines = _lines([() if r is None else r.cells for r in results])
        found.append(f"#### {title}\n\n{HEAD}\n" + "\n".join(lines) + f"\n\nMeasured {measured}.")
    return "\n\n".join(found)


def _lines(sides: list[tuple[Cell, ...]]) -> list[str]:
    """A line for every figure and shape of data, its sizes together."""
    keys = dict.fromkeys((_figure(cell), cell.shape) for side in sides for cell in side)
    lines = []
    for key in keys:
        of_key = [[cell for cell in side if (_figure(cell), cell.shape) == key] for side in sides]
        sizes = dict.fromkeys(cell.size for side in of_key for cell in side)
        columns = [_worst(side, quantity) for quantity in ("false pass", "coverage") for side in of_key]
        columns += [" / ".join(f"{100 * c.share:.0f}" for c in side if c.quantity == "power") for side in of_key]
        lines.append(f"| {key[0]}: {key[1]} | {_joined(sizes)} | " + " | ".join(columns) + " |")
    return lines


def _figure(cell: Cell) -> str:
    for ending in ENDINGS:
        if cell.what.endswith(ending):
            return cell.what.removesuffix(ending)
    return cell.what


def _joined(sizes: Iterable[str]) -> str:
    """ "n 20, n 50" as "n 20, 50"."""
    words = [size.split(" ", 1) for size in sizes]
    if len({word[0] for word in words}) == 1 and all(len(word) == 2 for word in words):
        return f"{words[0][0]} " + ", ".join(word[1] for word in words)
    return ", ".join(" ".join(word) for word in words)


def _worst(cells: list[Cell], quantity: str) -> str:
    """The figure farthest from its promise, bold where it is outside of it."""
    of_kind = [cell for cell in cells if cell.quantity == quantity]
    if not of_kind:
        return ""
    seen = [cell for cell in of_kind if cell.runs]
    if not seen:
        return "not shown"
    pick = max if quantity == "false pass" else min
    worst = pick(seen, key=lambda cell: cell.share)
    outside = [cell for cell in seen if not cell.kept]
    if outside:
        worst = pick(outside, key=lambda cell: cell.share)
    text = f"{100 * worst.share:.1f} %"
    return f"**{text}**" if outside else text


def page(text: str) -> str:
    """The page with its tables rewritten. Raises ValueError where it has no place for them."""
    start, _, rest = text.partition(BEGIN)
    _, found, end = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE} has no lines '{BEGIN}' and '{END}'.")
    note = (
        f"A false pass is to be at most {100 * ALPHA:g} % and coverage at least {100 * COVERAGE:g} %, within three "
        "Monte-Carlo errors; figures outside are bold. Of several sizes the worst is shown; passes of equal candidates "
        "are in the order of the sizes, in percent."
    )
    return f"{start}{BEGIN}\n\n{note}\n\n{tables()}\n\n{END}{end}"


def write_page() -> None:
    """Write docs/statistics.md."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
