"""Lists of names as users write them: `a,b`."""

from harness.errors import UsageError


def split_names(value: str, what: str) -> list[str]:
    """`a,b` as a list. Raises UsageError for an empty list or a name given twice."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{what} is empty: name at least one.")
    if len(set(names)) < len(names):
        raise UsageError(f"{what} names '{next(n for n in names if names.count(n) > 1)}' twice.")
    return names
