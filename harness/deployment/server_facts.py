"""What a server says of the model it serves, beside its answers: base or adapter, bits a weight, context length."""

from typing import Any

import msgspec

from harness.records import Record

PATIENCE_S = 5.0


class ServedModelFacts(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The entry of the asked model under /v1/models, as far as the server fills it.

    listed: whether the model is listed. root: what it was loaded from. parent: the base of an adapter (vLLM).
    adapters: ids of the server's adapters. context: longest context in tokens. bits: of a weight in the mean
    (llama.cpp gives size and number of weights).
    """

    listed: bool = False
    root: str | None = None
    parent: str | None = None
    adapters: tuple[str, ...] = ()
    context: int | None = None
    bits: float | None = None


def read_models(body: bytes, model: str) -> ServedModelFacts | None:
    """The facts in an answer of /v1/models; None for what is none."""
    try:
        listing = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    data = listing.get("data")
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    if not entries:
        return None
    mine = next((entry for entry in entries if entry.get("id") == model), entries[0] if len(entries) == 1 else {})
    given = mine.get("meta")
    meta: dict[str, Any] = given if isinstance(given, dict) else {}
    size, count = meta.get("size"), meta.get("n_params")
    context = mine.get("max_model_len") or meta.get("n_ctx")
    return ServedModelFacts(
        listed=mine.get("id") == model,
        root=_text(mine.get("root")),
        parent=_text(mine.get("parent")),
        adapters=tuple(str(entry.get("id")) for entry in entries if entry.get("parent")),
        context=context if isinstance(context, int) else None,
        bits=8 * size / count if isinstance(size, int) and isinstance(count, int) and count > 0 else None,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def ask_models(base_url: str, model: str, key: str | None) -> ServedModelFacts | None:
    """Ask a server for its models; None where it does not say within PATIENCE_S."""
    import httpx2

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx2.get(f"{base_url.rstrip('/')}/models", headers=headers, timeout=PATIENCE_S)
    except httpx2.HTTPError:
        return None
    return read_models(answer.content, model) if answer.status_code == 200 else None
