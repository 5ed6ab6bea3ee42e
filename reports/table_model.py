"""Tables as data: one shape that a page, a Markdown file and a screen reader all get."""

from harness.records import Record

MOST_COLUMNS = 30
"""A confusion table of more labels is no longer read as one."""


class TableColumn(Record, frozen=True, kw_only=True):
    """A heading; `numeric` columns are aligned right; `hint` explains the heading."""

    title: str
    numeric: bool = True
    hint: str = ""


class TableCell(Record, frozen=True, kw_only=True):
    """A cell: the figure, a smaller note after it (an interval), a line below, and its sort key.

    sort None puts the cell last in either direction. tone: "good", "bad", "even" or "" (shown by word as well).
    heat: 0..9 shades the cell. href: a page beside this one (our own file names only).
    """

    text: str
    note: str = ""
    below: str = ""
    sort: float | str | None = None
    tone: str = ""
    heat: int | None = None
    href: str = ""


class Grid(Record, frozen=True, kw_only=True):
    """A table: its caption, headings and rows; the first cell of a row heads it."""

    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    sortable: bool = False


def words_cell(text: str) -> TableCell:
    """A cell of words, sorted by them."""
    return TableCell(text=text, sort=text.casefold())
