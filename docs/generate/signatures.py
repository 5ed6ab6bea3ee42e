"""Signatures of functions and classes as source text, with the types as they are written in the code."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

WIDTH = 100
"""Longer signatures have a line for each parameter."""

_MODULE = re.compile(r"\b(?:[a-z_][a-z_0-9]*\.)+(?=[A-Za-z_])")


def signature_of(name: str, function: Callable[..., Any]) -> str:
    """`name(a: int, *, b: str = "x") -> Run`, on several lines where one would be too long."""
    found = inspect.signature(function)
    parts = []
    keyword_only = False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
        keyword_only |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        parts.append(_parameter(parameter))
    returns = "" if found.return_annotation is inspect.Signature.empty else f" -> {type_text(found.return_annotation)}"
    name = f"async {name}" if inspect.iscoroutinefunction(function) else name
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){returns}"])


def _parameter(parameter: inspect.Parameter) -> str:
    stars: dict[Any, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    star = stars.get(parameter.kind, "")
    kind = "" if parameter.annotation is parameter.empty else f": {type_text(parameter.annotation)}"
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{star}{parameter.name}{kind}{default}"


def type_text(annotation: Any) -> str:
    """A type without the modules of its names: `Path | str | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(type_text(one) for one in get_args(annotation))
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _MODULE.sub("", text).replace("NoneType", "None").strip("'\"")


def attribute_docs(kind: type) -> dict[str, tuple[str, str]]:
    """Attribute -> (type, docstring) for annotated attributes of a class that a docstring follows."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        said = following.value if isinstance(following, ast.Expr) else None
        if isinstance(node, ast.AnnAssign) and isinstance(said, ast.Constant):
            found[ast.unparse(node.target)] = (ast.unparse(node.annotation), str(said.value))
    return found


def members(kind: type) -> dict[str, Any]:
    """Public methods and properties that a class defines itself, in the order of the code."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("_") and isinstance(value, property | classmethod | staticmethod | type(members))
    }
