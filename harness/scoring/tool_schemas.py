"""Tools as a task declares them: names, and JSON schemas of their arguments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema

from harness.errors import UsageError
from harness.scoring.tool_calls import ToolCall


@dataclass(frozen=True)
class Tool:
    """name, and `parameters`: JSON schema of the arguments. `declared`: the tool in OpenAI's shape."""

    name: str
    parameters: Mapping[str, Any]
    declared: dict[str, Any]

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of arguments that a call leaves out."""
        properties = self.parameters.get("properties", {})
        return {n: one["default"] for n, one in properties.items() if isinstance(one, dict) and "default" in one}

    def filled(self, call: ToolCall) -> dict[str, Any]:
        """A call's arguments with the defaults of those that it leaves out."""
        return {**self.defaults, **(call.arguments or {})}

    def complaint(self, arguments: dict[str, Any]) -> str | None:
        """What the schema says against arguments; None where it accepts them."""
        try:
            error = jsonschema.exceptions.best_match(
                jsonschema.Draft202012Validator(self.parameters).iter_errors(arguments)
            )
        except (RecursionError, OverflowError):
            return "the arguments are nested too deeply"
        return None if error is None else str(error.message)


def read_tools(given: Any, place: str) -> dict[str, Tool]:
    """Tools by name: a list of {name, description, parameters}, each alone or as {"type": "function", "function": ..}.

    Raises UsageError naming the tool that is not right.
    """
    if not isinstance(given, list) or not given:
        raise UsageError(f"{place}: tools are a list of {{name, description, parameters}}.")
    tools: dict[str, Tool] = {}
    for number, one in enumerate(given, 1):
        given_function: Any = one.get("function", one) if isinstance(one, dict) else {}
        inner = given_function if isinstance(given_function, dict) else {}
        name = inner.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,64}", name):
            raise UsageError(f"{place}: tool {number} has no `name` of letters, digits, '_', '.' and '-'.")
        if name in tools:
            raise UsageError(f"{place}: two tools are named '{name}'.")
        parameters: Any = inner.get("parameters", inner.get("input_schema", {"type": "object", "properties": {}}))
        try:
            jsonschema.Draft202012Validator.check_schema(parameters)
        except jsonschema.SchemaError as error:
            raise UsageError(f"{place}: parameters of tool '{name}' are no JSON schema ({error.message}).") from None
        function = {"name": name, "description": str(inner.get("description", "")), "parameters": parameters}
        tools[name] = Tool(name, parameters, {"type": "function", "function": function})
    return tools
