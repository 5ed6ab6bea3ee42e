"""Loading models one at a time in a process, without the libraries' own messages."""

import contextlib
import logging
import threading
from collections.abc import Iterator

import transformers

_LOADING = threading.RLock()
"""Held while a model or an adapter is made: transformers changes torch for the whole process meanwhile."""


@contextlib.contextmanager
def model_loading() -> Iterator[None]:
    """Around whatever makes a model or an adapter: one at a time in a process, and without the libraries' own words.

    Tables of weights, progress bars and advice of transformers, PEFT and bitsandbytes stay away; what matters to a
    user is said in a sentence.
    """
    with _LOADING:
        noisy = [logging.getLogger(name) for name in ("transformers", "bitsandbytes", "peft")]
        before = [log.level for log in noisy]
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        for log in noisy:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(noisy, before, strict=True):
                log.setLevel(level)
