"""Whether a server is reachable and serves the model, checked before anything is sent."""

import aiohttp
import msgspec

from harness.backends.openai.answer_parsing import first_words
from harness.backends.openai.early_check import LOOK_S, no_server, retired, words_of
from harness.backends.openai.http_client import HttpClient, StatusError
from harness.errors import UnreachableError
from harness.money.prices import today

NO_SUCH_PATH = (301, 302, 303, 307, 308, 404, 405, 410, 501)
CHAT = "/chat/completions"


class ServedModel(msgspec.Struct):
    """A model as a server lists it; shutdown_date: its last day, where the server says one."""

    id: str
    shutdown_date: str | None = None


class _Models(msgspec.Struct):
    data: list[ServedModel]


async def served_models(label: str, url: str, client: HttpClient, *, strict: bool = True) -> list[ServedModel]:
    """The models that a server lists; none where it lists none, is slow to, or wants a key first.

    strict: raises UnreachableError, with the address and the cause, where nothing can be reached there, or where what
    answers is no such server (with the address of the one beside it, if there is one).
    """
    try:
        answer = await client.get("/models", LOOK_S)
        body = answer.content
        return msgspec.json.decode(body, type=_Models).data
    except (aiohttp.ClientError, TimeoutError) as error:
        cause = unreachable(error)
        if strict and cause is not None:
            raise no_server(label, url, cause) from None
        return []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        answer_excerpt = first_words(body)
    except StatusError as error:
        if error.status not in NO_SUCH_PATH:
            return []
        answer_excerpt = f"HTTP {error.status}: {first_words(error.content)}"
    if strict:
        await _refuse_foreign(label, url, client, answer_excerpt)
    return []


async def _refuse_foreign(label: str, url: str, client: HttpClient, answer_excerpt: str) -> None:
    """Raises UnreachableError where chats are not answered at this address either. Some real servers list no models."""
    if url.endswith(CHAT):
        right = url.removesuffix(CHAT)
        raise UnreachableError(f'{label}: base_url ends before {CHAT}: write base_url = "{right}".')
    if not url.endswith("/v1") and await _lists_models(f"{url}/v1/models", client):
        raise UnreachableError(
            f'{label}: {url} is no API ({answer_excerpt}), {url}/v1 is one: write base_url = "{url}/v1".'
        )
    try:
        answer = await client.post(CHAT, b"{}", LOOK_S)
    except StatusError as error:
        if error.status not in NO_SUCH_PATH:  # it knows the path and misses the body: a server after all
            return
        answer_excerpt = f"HTTP {error.status}: {first_words(error.content)}"
    except (aiohttp.ClientError, TimeoutError):
        return
    else:
        if answer.content.lstrip()[:1] == b"{" and b"ndpoint" not in answer.content:
            return
        answer_excerpt = first_words(answer.content)
    hint = "" if url.endswith("/v1") else f"; most such addresses end in /v1: try {url}/v1"
    raise UnreachableError(
        f"{label}: what answers at {url} is no OpenAI-compatible server ({answer_excerpt}): correct base_url{hint}."
    )


async def _lists_models(url: str, client: HttpClient) -> bool:
    try:
        answer = await client.get(url, LOOK_S)
        return bool(msgspec.json.decode(answer.content, type=_Models).data)
    except (StatusError, aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, UnicodeDecodeError):
        return False


def unreachable(error: aiohttp.ClientError | TimeoutError) -> str | None:
    """Why no connection was established; None where one was and only the answer took too long."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return words_of(error.os_error)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {LOOK_S:g} s"
    if isinstance(error, TimeoutError):
        return None
    return " ".join(str(error).split())[:160] or type(error).__name__


async def check_served(name: str, model: str, url: str, client: HttpClient) -> str | None:
    """The shut-down date that the server itself gives for a model (`/v1/models`), where it gives one.

    Raises UsageError where that day has come, where nothing can be reached at the address, or where what answers there
    is no such server. A server that lists no models, or asks for a key to do so, is not held against: its answer to
    the first request will say what is wrong.
    """
    day = next((m.shutdown_date for m in await served_models(server_label(name), url, client) if m.id == model), None)
    if day is not None and day[:10] <= today().isoformat():
        raise retired(name, model, day[:10])
    return day


def server_label(name: str) -> str:
    """How a sentence names a backend."""
    return f"backend '{name}'"


async def missing_model_message(url: str, model: str, client: HttpClient) -> str | None:
    """What a server of a fleet serves instead of the model; None where it has it, or does not say."""
    served = await served_models("", url, client, strict=False)
    names = {model, model.rpartition(":")[0]}  # SGLang asks an adapter as BASE:ADAPTER and lists both for themselves
    if not served or any(m.id in names for m in served):
        return None
    return f"{url} does not serve {model} (it serves {', '.join(m.id for m in served[:5])}): it is left out."
