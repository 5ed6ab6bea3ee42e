"""What a person sees while a run is going: the live display of the reports, fed by the runner's observer."""

import contextlib
from collections.abc import Iterator

from rich.console import Console

from harness.asking.together import Observer
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
            asked = {name: total for name, (_, total) in totals.items()}
            answered = {name: done for name, (done, _) in totals.items()}
            display = stack.enter_context(load(PROGRESS)(console, asked, answered))

        yield Observer(
            started=started,
            line=lambda backend, line: display.on_line(backend, line) if display else None,
            remark=remark,
            working=remark,
            out_of_sight=lambda backend, done, total: display.out_of_sight(backend, done, total) if display else None,
        )
