"""The first step of the command `bench`: says in one sentence when another package `harness` shadows ours.

It has a name of its own because nothing inside a package can be found while another one shadows it.
"""

import sys
from importlib.util import find_spec

INTERRUPTED = 130
"""128 and the number of SIGINT, as in a shell."""


def main() -> None:
    """Start Bench; exit code 2 where its package cannot be found behind another one of the same name, 130 after Ctrl-C
    while it is still being imported."""
    try:
        from harness.cli.main import main as start
    except KeyboardInterrupt:
        print("bench: interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("harness"):
            raise  # a library is missing: the traceback names it
        sys.exit(_told())
    start()


def _told() -> int:
    spec = find_spec("harness")
    where = None if spec is None else spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    if where is None:
        message = "Bench's package 'harness' is not installed: python -m pip install bench-harness."
    else:
        message = (
            f"{where} shadows Bench's own package 'harness': "
            "rename it, or take its folder out of the current folder or PYTHONPATH."
        )
    print(f"bench: {message}", file=sys.stderr)
    return 2
