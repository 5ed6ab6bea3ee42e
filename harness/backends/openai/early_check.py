"""What is refused before the HTTP client is imported: models that were shut down, servers that accept no connection."""

import os
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

from harness.backends.openai.openai_settings import OpenAISettings
from harness.errors import UnreachableError, UsageError
from harness.money.prices import price_table, today

CONNECT_S = 2.0
"""How long a server may take to accept a connection; one packet that is lost and sent again is allowed for."""
LOOK_S = 2.5
"""How long a server may take to list its models; one that is slow to list them is asked all the same."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that are never asked through a proxy of the environment."""
_PORTS = {"http": 80, "https": 443}


def check_listed(name: str, model: str, settings: OpenAISettings) -> None:
    """Refuse a model that OpenAI has shut down. Raises UsageError naming what to ask instead, and where."""
    if settings.at_openai:
        day = price_table().retired(model, today())
        if day is not None:
            raise retired(name, model, day)


def retired(name: str, model: str, day: str) -> UsageError:
    """The sentence about a model that was shut down on `day`."""
    instead = price_table().living(model, today())
    change = f'model = "{instead}"' if instead else "model to a living one"
    return UsageError(
        f"backend '{name}': {model} was shut down on {day}: set {change} in [backends.{name}] of bench.toml, "
        f"or base_url to a server that still has it."
    )


def refuse_unreachable(where: str, urls: Sequence[str]) -> None:
    """Raises UnreachableError, with address and cause, where none of the servers accepts a connection within CONNECT_S.

    Servers that are asked through a proxy of the environment are taken to be there: only the proxy can tell. The
    threads are daemons: a resolver that never answers does not keep the process from ending.
    """
    if not urls or any(_proxied(url) for url in urls):
        return
    causes: dict[str, str | None] = dict.fromkeys(urls, f"no connection within {CONNECT_S:g} s")

    def look(url: str) -> None:
        causes[url] = connection_fault(url)

    threads = [threading.Thread(target=look, args=(url,), daemon=True) for url in causes]
    deadline = time.monotonic() + CONNECT_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    faults = {url: cause for url, cause in causes.items() if cause is not None}
    if len(faults) == len(causes):
        url, cause = next(iter(faults.items()))
        raise no_server(where, url, cause)


def connection_fault(url: str) -> str | None:
    """Why no connection to the URL's host and port can be made, in words; None where one can."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or _PORTS[parts.scheme]), CONNECT_S):
            return None
    except TimeoutError:
        return f"no connection within {CONNECT_S:g} s"
    except OSError as error:
        return words_of(error)


def words_of(error: OSError) -> str:
    """The cause of a connection that failed, as the operating system words it."""
    if isinstance(error, socket.gaierror):
        return f"its host has no address: {error.strerror}"
    number = error.errno if isinstance(error.errno, int) and error.errno > 0 else None
    return os.strerror(number) if number is not None else " ".join(str(error).split())[:160]


def no_server(where: str, url: str, cause: str) -> UnreachableError:
    """The sentence about a server that cannot be reached; where: the backend that asks it."""
    return UnreachableError(f"{where}: no server answers at {url} ({cause}): start it, or correct base_url.")


def _proxied(url: str) -> bool:
    """Whether the environment names a proxy for this URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in LOOPBACK or not urllib.request.getproxies().keys() & {parts.scheme, "all"}:
        return False
    return not urllib.request.proxy_bypass(host)
