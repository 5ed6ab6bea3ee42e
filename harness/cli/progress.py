"""What a person sees while a run is going: the live display of the reports, fed by the runner's observer."""

import contextlib
from collections.abc import Iterator

from rich.console import Console

from harness.asking import Observer
from harness.cli.rooms import PROGRESS, load


@contextlib.contextmanager
def observed(console: Console, *, quiet: bool) -> Iterator[Observer]:
    """An observer that draws progress on `console` (nothing when quiet) until the block ends."""

    def remark(text: str) -> None:
        console.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)

    if quiet:
        yield Observer(remark=remark)
        return
    with contextlib.ExitStack() as stack:
        display = None

        def started(totals: dict[str, tuple[int, int]]) -> None:
            nonlocal display
            left = {name: total - done for name, (done, total) in totals.items()}
            display = stack.enter_context(load(PROGRESS)(console, left))

        yield Observer(
            started=started,
            line=lambda backend, line: display.on_line(backend, line) if display else None,
            remark=remark,
        )
