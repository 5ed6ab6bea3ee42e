"""The window of requests in flight grows while that helps, and no further."""

from harness.backends.openai.concurrency_window import FIRST, START, ConcurrencyWindow, EventLoopLag


def rounds(window: ConcurrencyWindow, count: int, latency: float, *, spent: float = 0.05, full: bool = True) -> float:
    """Answer `count` rounds of the window, each as long as one latency; the clock at the end."""
    now = spent
    for _ in range(count):
        width = window.width
        for k in range(width):
            window.answered(latency, width if full else 1, now + latency * (k + 1) / width)
        now += latency
    return now


def opened(ceiling: int = 100) -> ConcurrencyWindow:
    """A window that has had its first answer."""
    window = ConcurrencyWindow(ceiling, EventLoopLag())
    window.answered(0.05, 1, 0.05)
    return window


def test_it_starts_small_and_widens_with_the_first_answer() -> None:
    assert ConcurrencyWindow(100, EventLoopLag()).width == FIRST
    assert opened().width == START
    assert opened(ceiling=8).width == 8


def test_it_grows_to_the_ceiling_while_latency_holds() -> None:
    window = opened()
    rounds(window, 6, 0.05)
    assert window.width == 100


def test_it_does_not_grow_when_it_is_not_used() -> None:
    window = opened()
    rounds(window, 6, 0.05, full=False)
    assert window.width == START


def test_it_grows_on_while_a_batching_server_does_more_work_at_once_though_slower() -> None:
    window = opened()
    now = rounds(window, 1, 0.05)
    wider = window.width
    rounds(window, 1, 0.065, spent=now)
    assert window.width > wider


def test_it_goes_back_where_neither_latency_held_nor_throughput_rose() -> None:
    window = opened()
    now = rounds(window, 1, 0.05)
    good = START
    rounds(window, 1, 0.2, spent=now)
    assert window.width == good


def test_an_overload_takes_a_third_once_a_round() -> None:
    window = opened()
    rounds(window, 6, 0.05)
    for _ in range(10):
        window.overloaded()
    assert window.width == 67


def test_where_the_client_is_the_bottleneck_it_keeps_what_the_latency_needs() -> None:
    window = opened()
    now = rounds(window, 6, 0.05)
    window.lag.recent = 0.02
    rounds(window, 1, 0.1, spent=now)
    assert window.width == int(1.25 * 100 * 0.5)
