"""Rows, two recordings of answers to them and the settings that name both, for tests of the Python API."""

import json
from pathlib import Path

from harness import DataSource, Settings, load_rows, load_task

TOPICS = (
    ("The keeper saved two penalties", "Sports"),
    ("Bond yields rose after the auction", "Business"),
    ("A probe entered orbit around the moon", "Sci/Tech"),
    ("Ministers signed the border treaty", "World"),
)
ROWS = 20
WRONG_EVERY = 5
"""`worse` answers every fifth row with another topic."""


def write_rows(folder: Path) -> Path:
    """`rows.jsonl` with 20 rows of four topics."""
    path = folder / "rows.jsonl"
    rows = [{"text": f"{text} ({n}).", "label": label} for n in range(ROWS // 4) for text, label in TOPICS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def recorded_settings(folder: Path) -> Settings:
    """Rows, recordings and settings: `right` answers every row rightly, `worse` four of five."""
    rows = load_rows(load_task("agnews"), DataSource(location=str(write_rows(folder))))
    tables = {}
    for name, every in (("right", ROWS + 1), ("worse", WRONG_EVERY)):
        lines = []
        for number, row in enumerate(rows, 1):
            wrong = "Sports" if row.reference == "World" else "World"
            lines.append({"id": row.id, "text": row.reference if number % every else wrong})
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        tables[name] = {"kind": "replay", "path": str(path)}
    return Settings(backends=tables)
