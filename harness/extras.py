"""Optional dependencies: which packages an extra of Bench stands for, and the command that installs them.

The command names the packages themselves: they are on the package index whether or not this copy of Bench is.
"""

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires

NAME = "bench-harness"

_REQUIREMENT = re.compile(
    r"(?P<package>[\w.-]+)(?:\[(?P<extras>[^]]*)\])?(?P<version>[^;]*)(?:;.*extra == ['\"](?P<of>[^'\"]+))?"
)


def install_command(extra: str) -> str:
    """`python -m pip install ..` for the packages of an extra."""
    return f"python -m pip install {' '.join(map(shlex.quote, requirements(extra)))}"


def requirements(extra: str) -> list[str]:
    """The packages of an extra with their versions, those of the extras it includes too."""
    found: list[str] = []
    for line in _declared():
        match = _REQUIREMENT.match(line)
        if match is None or match["of"] != extra:
            continue
        if match["package"] == NAME:
            found += [one for other in (match["extras"] or "").split(",") for one in requirements(other.strip())]
        else:
            inner = f"[{match['extras']}]" if match["extras"] else ""
            found.append(f"{match['package']}{inner}{match['version'].strip()}")
    return list(dict.fromkeys(found))


def _declared() -> list[str]:
    try:
        return requires(NAME) or []
    except PackageNotFoundError:  # run from a checkout that nobody installed
        return []
