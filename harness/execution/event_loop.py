"""Running a coroutine to its end, also where the thread runs an event loop already, as in a notebook."""

import asyncio
import contextlib
import contextvars
import signal
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_handlers: dict[asyncio.AbstractEventLoop, Callable[[], None]] = {}
"""What Ctrl-C calls, by the loop in whose thread it is called."""


def run_coroutine(main: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, as of `asyncio.run`.

    Where this thread runs a loop already (a notebook cell, a coroutine that calls a plain function), the coroutine
    runs in a thread of its own with a loop of its own, and this thread waits for it. The thread sees this one's context
    variables. Raises whatever the coroutine raises, and KeyboardInterrupt after Ctrl-C.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main)
    return _run_in_thread(main)


def _run_in_thread(main: Coroutine[Any, Any, T]) -> T:
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def announced() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await main

    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="bench") as pool:
        done = pool.submit(context.run, asyncio.run, announced())
        interrupted = False
        while True:
            try:
                return done.result()
            except KeyboardInterrupt:
                if done.done():
                    raise
                interrupted = True
                loop, task = started.result()
                loop.call_soon_threadsafe(_handlers.get(loop, task.cancel))
            except asyncio.CancelledError:
                if interrupted:
                    raise KeyboardInterrupt from None
                raise


@contextlib.contextmanager
def on_interrupt(handler: Callable[[], None]) -> Iterator[None]:
    """Call `handler` in the running loop on every Ctrl-C while the block runs, instead of raising KeyboardInterrupt.

    In a thread that `run_coroutine` started, the waiting thread passes Ctrl-C on. Elsewhere outside the main thread,
    and where the platform has no signal handlers for loops, nothing changes.
    """
    loop = asyncio.get_running_loop()
    _handlers[loop] = handler
    try:
        loop.add_signal_handler(signal.SIGINT, handler)
        by_signal = True
    except (NotImplementedError, RuntimeError, ValueError):
        by_signal = False
    try:
        yield
    finally:
        del _handlers[loop]
        if by_signal:
            loop.remove_signal_handler(signal.SIGINT)
