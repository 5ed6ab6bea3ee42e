"""The error that a body reports, in whatever shape: OpenAI's object, a bare text, FastAPI's detail, a list of them."""

from typing import Any, NamedTuple

NO_ERROR = {"", "0", "200", "ok", "success", "none", "null", "false"}
"""Codes and words by which some servers say that all went well."""
MOST_NESTED = 3
"""Levels at which a message is looked for."""
LONGEST = 300
"""Characters of a message that are kept."""


class ServerError(NamedTuple):
    """What a server says of an error: its words, its code and type (as text, lower case), the parameter it names, and
    the HTTP status inside the body (None: none)."""

    message: str
    code: str = ""
    kind: str = ""
    param: str = ""
    status: int | None = None


def server_error(body: Any, *, answered: bool = False) -> ServerError | None:
    """The error in a body; None where it reports none.

    answered: the body also holds choices, so that only a field called "error" is one. Shapes: {"error": {..}} of
    OpenAI, {"error": "text"} of Ollama and LM Studio, {"error": {"error": ..}}, {"detail": ..} of FastAPI,
    {"object": "error", "message": ..} of vLLM before 0.10, {"errors": [..]} of Cloudflare, {"code": .., "msg": ..},
    {"type": "error", "error": {..}} of Anthropic, and [{"error": {..}}] of Gemini.
    """
    if isinstance(body, list):
        return next(
            (e for e in (server_error(one) for one in body[:3] if isinstance(one, dict)) if e is not None), None
        )
    if not isinstance(body, dict):
        return None
    inner = body.get("error")
    found = _of_value(inner, body)
    if found is not None or answered:
        return found
    if isinstance(body.get("errors"), list | dict) and body["errors"]:
        errors = body["errors"]
        return _of_value(errors[0] if isinstance(errors, list) else errors, body)
    message = _message(body)
    if message and _word(body.get("code", "error")) not in NO_ERROR:
        return _error_from_fields(message, body, body)
    return None


def _of_value(value: Any, around: dict[str, Any], depth: int = 0) -> ServerError | None:
    """The error that a field holds. A code or word of success, or nothing, is none."""
    if isinstance(value, str):
        return None if value.strip().lower() in NO_ERROR else _error_from_fields(value.strip(), around, {})
    if isinstance(value, list) and depth < MOST_NESTED:
        return next((e for e in (_of_value(one, around, depth + 1) for one in value[:3]) if e is not None), None)
    if value is True:
        return _error_from_fields(_message(around) or "the body reports an error", around, {})
    if not isinstance(value, dict) or not value:
        return None
    if isinstance(value.get("error"), dict | str) and not _message(value) and depth < MOST_NESTED:
        return _of_value(value["error"], value, depth + 1)
    code = value.get("code", value.get("status"))
    if code is not None and _word(code) in NO_ERROR and _word(value.get("message")) in NO_ERROR:
        return None
    words = _message(value) or _word(value.get("type")) or _word(code)
    return _error_from_fields(words, around, value) if words else None


def _error_from_fields(message: str, around: dict[str, Any], error: dict[str, Any]) -> ServerError:
    codes = [error.get("code"), error.get("status"), error.get("http_code"), around.get("code"), around.get("status")]
    status = next((s for s in map(_status, codes) if s is not None), None)
    inner = error.get("innererror") or error.get("inner_error")  # Azure says there which policy it was
    code = _word(error.get("code")) or _word(error.get("status"))
    if isinstance(inner, dict):
        code = " ".join(filter(None, (code, _word(inner.get("code")))))
    return ServerError(
        message=message[:LONGEST],
        code=code or _word(around.get("code")),
        kind=_word(error.get("type")) or _word(around.get("type")),
        param=_word(error.get("param")),
        status=status,
    )


def _message(value: dict[str, Any], depth: int = 0) -> str:
    for name in ("message", "msg", "detail", "details", "error_description", "error_msg", "reason", "description"):
        text = _words(value.get(name), depth)
        if text:
            return text
    return ""


def _words(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):  # FastAPI: [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
        return "; ".join(filter(None, (_located(one) for one in value[:5])))
    if isinstance(value, dict) and depth < MOST_NESTED:  # Mistral: {"message": {"detail": [..]}}
        return _located(value) or _message(value, depth + 1)
    return ""


def _located(value: Any) -> str:
    if not isinstance(value, dict):
        return value.strip() if isinstance(value, str) else ""
    message = next((value[k] for k in ("msg", "message", "error") if isinstance(value.get(k), str)), "")
    loc = value.get("loc")
    place = ".".join(str(part) for part in loc if isinstance(part, str | int)) if isinstance(loc, list) else ""
    return f"{place}: {message}" if place and message else message


def _word(value: Any) -> str:
    """A code or type as lower-case text; anything that is neither text nor number is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip().lower()[:100]


def _status(value: Any) -> int | None:
    text = _word(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 and 400 <= int(text) < 600 else None
