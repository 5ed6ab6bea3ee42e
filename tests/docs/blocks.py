"""The code blocks of README.md and docs, with the marks that stand before them.

A block is run unless a comment on the line above says otherwise:

    <!-- not run: REASON -->     it is not run; its `bench` commands must still be commands of Bench
    <!-- file: NAME -->          it is written to NAME in the page's folder before anything of the page runs
    <!-- exits: CODE -->         its last command ends with this exit code
    <!-- prints -->              its lines stand in what the block before it printed, figures aside
    <!-- before: COMMAND -->     anywhere on a page: run first, in the page's folder
    <!-- slow -->                anywhere on a page: it takes longer than the quick tier may

`python -m tests.docs.blocks` counts them.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"<!-- (not run|file|exits|prints|before|slow)(?:: (.*?))? -->")
FENCE = re.compile(r"( *)```(\w*)\s*")
DATA = ("json", "yaml", "toml", "csv")
"""Languages that are read rather than run."""


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language, its text and its marks."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """`docs/ci.md:12`."""
        return f"{self.page}:{self.line}"

    @property
    def fate(self) -> str:
        """What becomes of it: run, read, compared, written as a file that others use, text, or the reason why not."""
        if "not run" in self.marks:
            return f"not run: {self.marks['not run']}"
        if "prints" in self.marks:
            return "compared with what is printed"
        if self.language == "text":
            return "text"
        return "read" if self.language in DATA else "run"


@dataclass(frozen=True)
class Page:
    """A page's blocks, and the commands that are run before them."""

    path: str
    blocks: tuple[Block, ...]
    before: tuple[str, ...]
    slow: bool
    indented: tuple[int, ...]
    """Lines at which an indented block begins: nothing says what language it is."""


def pages() -> list[Page]:
    """README.md and everything in docs, generated pages too."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [read_page(path) for path in paths]


def read_page(path: Path, root: Path = ROOT) -> Page:
    """One page. A fence that is not closed ends with the page."""
    name = str(path.relative_to(root))
    blocks: list[Block] = []
    before, indented = [], []
    marks: dict[str, str] = {}
    slow = False
    lines = path.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if opened := FENCE.fullmatch(line):
            end = next((n for n in range(number, len(lines)) if lines[n].strip() == "```"), len(lines))
            body = [one.removeprefix(opened[1]) for one in lines[number:end]]
            blocks.append(Block(name, number, opened[2], "\n".join(body) + "\n", marks))
            marks, number = {}, end + 1
            continue
        found = MARK.findall(line)
        marks = {} if line.strip() and not found else marks
        for mark, value in found:
            slow |= mark == "slow"
            if mark == "before":
                before.append(value)
            elif mark != "slow":
                marks = {**marks, mark: value}
        first = number < 2 or not lines[number - 2].strip()
        in_list = any(re.match(r"\s*([-*]|\d+\.) ", one) for one in lines[max(0, number - 12) : number - 1])
        if first and line.startswith("    ") and line.strip() and not in_list:
            indented.append(number)
    return Page(name, tuple(blocks), tuple(before), slow, tuple(indented))


def main() -> None:
    """Count blocks by what becomes of them."""
    blocks = [block for page in pages() for block in page.blocks]
    for fate, count in Counter(block.fate for block in blocks).most_common():
        print(f"{count:4}  {fate}")
    print(f"{len(blocks):4}  in all, on {len(pages())} pages")


if __name__ == "__main__":
    main()
