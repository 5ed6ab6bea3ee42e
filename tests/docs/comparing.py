"""Whether a page shows what a command prints: words and shape must agree, figures may differ between machines."""

import re

ANY = "…"


def missing_lines(shown: str, printed: str) -> list[str]:
    """Lines of `shown` that `printed` does not hold, in any order. A line of dots stands for lines left out."""
    there = {_plain(line) for line in printed.splitlines()}
    wanted = [line for line in shown.splitlines() if line.strip() and line.strip() != ANY]
    return [line for line in wanted if not _found(_plain(line), there)]


def _found(line: str, there: set[str]) -> bool:
    if ANY not in line:
        return line in there
    pattern = re.compile(".*".join(map(re.escape, line.split(ANY))))
    return any(pattern.fullmatch(one) for one in there)


def _plain(line: str) -> str:
    """Figures as `#`, runs of blanks and of rules as one."""
    line = re.sub(r"[+-]?\d[\d,.:]*(?:e[+-]?\d+)?", "#", line)
    return " ".join(re.sub(r"[─━-]{2,}", "--", line).split())
