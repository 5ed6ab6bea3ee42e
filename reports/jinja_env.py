"""How a page is put together: everything escaped, nothing remote, only our own scripts allowed to run."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness import text_format
from harness.metrics import title
from harness.text_sanitize import visible

TEMPLATES = Path(__file__).parent / "templates"


def _finalize(value: Any) -> Any:
    """What every expression of a template passes on its way out: hidden characters are made visible."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def environment() -> Environment:
    """The one Jinja environment. `autoescape=True`: `select_autoescape` would leave `.html.j2` unescaped."""
    env = Environment(
        autoescape=True,
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["count"] = text_format.count
    env.filters["money"] = text_format.money
    env.filters["title_of"] = title
    return env


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _source(code: str) -> str:
    """A Content-Security-Policy source that allows exactly this inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def render(template: str, *, scripts: tuple[str, ...] = (), live: bool = False, **context: Any) -> str:
    """One self-contained page. `scripts` are our own files, inlined and allowed by their hashes alone.

    live: the scripts may ask the server that the page came from.

    No style attribute, event handler, form target, frame or remote address can do anything on the page.
    """
    style = _asset("style.css")
    codes = [_asset(name) for name in scripts]
    allowed = " ".join(_source(code) for code in codes) or "'none'"
    connect = "; connect-src 'self'" if live else ""
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src {_source(style)}; "
        f"img-src data:; base-uri 'none'; form-action 'none'{connect}"
    )
    return (
        environment()
        .get_template(template)
        .render(policy=policy, style=Markup(style), scripts=[Markup(code) for code in codes], **context)
    )
