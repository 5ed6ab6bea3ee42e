"""What `[backends.NAME]` may say for kind = "openai", and how secrets stay out of it."""

import os
import re
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from harness.errors import SettingsError
from harness.money.prices import Price

OPENAI_URL = "https://api.openai.com/v1"
ENV = "env:"
SECRET_NAME = re.compile(r"authorization|auth$|api[-_]?key|-key$|token$|secret|password|cookie", re.IGNORECASE)
SECRET_VALUE = re.compile(r"(?:bearer|basic)\s", re.IGNORECASE)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NO_KEY = "no-key"
"""Sent to servers other than OpenAI when no key is set: the client insists on one, most local servers do not."""
SHORTEST_SECRET = 8
"""Characters. Local servers are given words like "EMPTY" for a key; to cut those out of answers would change them."""


class Azure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Azure OpenAI: `base_url` is then the resource's endpoint.

    deployment: its name, part of the path of each call. api_version: the version of Azure's interface.
    """

    deployment: str
    api_version: str


class OpenAISettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an OpenAI-compatible backend.

    model: the model id that is sent. base_url: one server or several (least-loaded first).
    base_url_file: a file that names the servers, one URL a line, instead of base_url; servers that join or leave it
    during a run are asked or left. base_url_dns: true makes every address of base_url's host a server.
    reread_s: seconds between two looks at that file or at DNS.
    api_key_env: the environment variable with the key; other servers than OpenAI's need none.
    rpm: requests a minute that each server allows; learned from its headers where not given, and never passed where
    given. tpm: tokens a minute, likewise.
    concurrency: the most requests in flight, all servers together. price: taken instead of the price table.
    timeout_s: seconds of one attempt; deadline_s: seconds of a request with all its attempts and waits;
    max_attempts: attempts of one request. decode: "generate", "json" (the answer is held to the request's schema or
    labels), "head" (a classification head, asked by vLLM's /classify), or "auto".
    logprobs: ask for log-probabilities of the answer's tokens and of labels. seed: send the request's seed. adapter: a
    hosted fine-tune whose manifest names the model ("auto": the current one of this task and base `model`).
    trained_on: a file with the rows that a tuned model was trained on, where Bench did not train it.
    extra_headers, extra_body: sent along; a value "env:NAME" is read from the environment, never stored.
    template: variables of the model's chat template, such as {enable_thinking = false}: sent as chat_template_kwargs,
    or by the provider's own word for it.
    omit: body fields this server refuses. azure: set for Azure OpenAI. proxy: URL of an HTTP proxy, or "env:NAME".
    batch: use the Batch API; batch_window: how long the provider may take; batch_rows: requests a batch file
    holds at most; poll_s: seconds between two looks at a batch.
    """

    kind: str = "openai"
    model: str
    base_url: str | tuple[str, ...] = OPENAI_URL
    base_url_file: str | None = None
    base_url_dns: bool = False
    reread_s: float = 5.0
    api_key_env: str = "OPENAI_API_KEY"
    rpm: float | None = None
    tpm: float | None = None
    concurrency: int = 64
    price: Price | None = None
    timeout_s: float = 60.0
    deadline_s: float = 600.0
    max_attempts: int = 6
    decode: Literal["auto", "generate", "json", "head"] = "auto"
    logprobs: bool = False
    seed: bool = True
    adapter: str | None = None
    trained_on: str = ""
    extra_headers: dict[str, str] = {}
    extra_body: dict[str, Any] = {}
    template: dict[str, Any] = {}
    omit: tuple[str, ...] = ()
    azure: Azure | None = None
    proxy: str | None = None
    batch: bool = False
    batch_window: str = "24h"
    batch_rows: int = 50_000
    poll_s: float = 30.0

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers that are named here, without trailing slashes; none where a file names them."""
        if self.base_url_file is not None:
            return ()
        given = (self.base_url,) if isinstance(self.base_url, str) else self.base_url
        return tuple(url.rstrip("/") for url in given)

    @property
    def fleet(self) -> bool:
        """Whether there may be several servers."""
        return self.base_url_file is not None or self.base_url_dns or len(self.urls) > 1

    @property
    def at_openai(self) -> bool:
        """Whether OpenAI itself answers (its price table and shut-down dates then hold)."""
        return self.azure is None and self.urls == (OPENAI_URL,)


def check_settings(name: str, settings: OpenAISettings) -> None:
    """Refuse what could not work, and secrets in plain sight. Raises UsageError naming the key to change."""
    label = f"[backends.{name}]"
    for url in settings.urls:
        check_url(url, f"{label} base_url")
    _check_fleet(label, settings)
    if not VARIABLE.fullmatch(settings.api_key_env):  # it may be the key itself: not to be shown, nor stored
        raise SettingsError(
            f"{label}: api_key_env must be the name of an environment variable, like OPENAI_API_KEY; "
            "put the key into that variable."
        )
    if settings.proxy and not settings.proxy.startswith(ENV) and "@" in settings.proxy:
        raise SettingsError(
            f'{label}: proxy holds a password, which would be stored: write proxy = "env:NAME" instead.'
        )
    for table in ("extra_headers", "extra_body"):
        for key, value in getattr(settings, table).items():
            if not isinstance(value, str) or value.startswith(ENV):
                continue
            if SECRET_NAME.search(key) or SECRET_VALUE.match(value):
                raise SettingsError(
                    f"{label}: {table}.{key} looks like a secret, which would be stored: write "
                    f'{key} = "env:NAME" and put the value into that environment variable.'
                )
    for key in (
        "reread_s",
        "rpm",
        "tpm",
        "timeout_s",
        "deadline_s",
        "concurrency",
        "max_attempts",
        "batch_rows",
        "poll_s",
    ):
        value = getattr(settings, key)
        if value is not None and value <= 0:
            raise SettingsError(f"{label}: {key} must be above 0.")


def _check_fleet(label: str, settings: OpenAISettings) -> None:
    """One way of naming servers, and one that can be kept."""
    sources = " and ".join(k for k in ("base_url_file", "base_url_dns") if getattr(settings, k))
    if settings.base_url_file is None and not settings.urls:
        raise SettingsError(f"{label}: base_url must be one http(s) URL, or a list of them.")
    if settings.base_url_file is not None and (settings.base_url_dns or settings.base_url != OPENAI_URL):
        raise SettingsError(f"{label}: base_url_file names the servers; leave base_url and base_url_dns out.")
    if settings.base_url_dns and (len(settings.urls) > 1 or urlsplit(settings.urls[0]).scheme == "https"):
        raise SettingsError(
            f"{label}: base_url_dns needs one http:// base_url (a certificate names a host, not addresses)."
        )
    if sources and (settings.azure is not None or settings.batch):
        raise SettingsError(f"{label}: {sources} works neither with azure nor with batch = true.")


def check_url(url: str, label: str) -> None:
    """Refuse what is no server's URL, and one that holds a password. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_right = urlsplit(""), False
    if "@" in parts.netloc:
        raise SettingsError(f"{label}: the URL holds a password, which would be stored: name the key in api_key_env.")
    if parts.query or parts.fragment:  # the path of a call would be appended to it; and may hold a key
        raise SettingsError(f"{label}: a server's URL ends before '?' and '#': put that part into extra_headers.")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right or " " in url:
        raise SettingsError(f"{label}: '{url}' is no http(s) URL: write it like http://gpu1:8000/v1.")


def find_key(name: str, settings: OpenAISettings) -> str | None:
    """The key from the environment; None where none is set and another server than OpenAI is asked.

    Raises SettingsError naming the variable where OpenAI or Azure is asked without a key.
    """
    key = os.environ.get(settings.api_key_env, "").strip()
    if key:
        return key
    if settings.azure is not None or OPENAI_URL in settings.urls:
        raise SettingsError(
            f"backend '{name}': the environment variable {settings.api_key_env} is not set; put the API key there "
            f"(or name another variable with api_key_env in [backends.{name}])."
        )
    return None


class SentValues(NamedTuple):
    """What is sent beside each body, with "env:NAME" read: key, headers, and the proxy that it is sent through."""

    bearer: str
    headers: dict[str, str]
    proxy: str | None


def sent_values(name: str, settings: OpenAISettings, key: str | None) -> SentValues:
    """Raises SettingsError for a variable that is not set, and for a value that no header or proxy takes."""
    where = f"[backends.{name}]"
    bearer = _sendable(key or NO_KEY, f"the key in the environment variable {settings.api_key_env}")
    headers = {
        k: _sendable(from_environment(v, f"{where}.extra_headers.{k}"), f"{where}.extra_headers.{k}")
        for k, v in settings.extra_headers.items()
    }
    proxy = from_environment(settings.proxy, f"{where}.proxy") if settings.proxy else None
    if proxy and not proxy.startswith(("http://", "https://")):
        raise SettingsError(f"{where}: proxy must be a URL like http://HOST:3128.")
    return SentValues(bearer, headers, proxy)


def _sendable(value: str, where: str) -> str:
    """What goes into a header, as it is. Raises SettingsError for what HTTP cannot carry there."""
    if not (value.isascii() and value.isprintable()):
        raise SettingsError(
            f"{where} holds a character that no HTTP header takes (a curly quote, a line end): type it again."
        )
    return value


def secrets_of(settings: OpenAISettings, key: str | None) -> tuple[str, ...]:
    """What must not be stored, whatever a server echoes: the key, and what "env:NAME" stands for (of "Bearer X": X)."""
    values_named = [*settings.extra_headers.values(), *settings.extra_body.values()]
    values = [os.environ.get(v.removeprefix(ENV), "") for v in values_named if isinstance(v, str) and v.startswith(ENV)]
    words = [value.split()[-1] for value in (key or "", *values) if value.strip()]
    return tuple(secret for secret in words if len(secret) >= SHORTEST_SECRET)


def from_environment(value: str, label: str) -> str:
    """The value itself, or for "env:NAME" that variable's. Raises UsageError naming a variable that is not set."""
    if not value.startswith(ENV):
        return value
    name = value.removeprefix(ENV)
    found = os.environ.get(name)
    if not found:
        raise SettingsError(f"{label}: the environment variable {name} is not set.")
    return found
