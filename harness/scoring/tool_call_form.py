"""One call of a tool, as the task declares its tools: the right one and the right arguments, defaults filled in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jsonschema
import msgspec

from harness.data.row import is_missing, kind_of
from harness.errors import UsageError
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.records import Completion, Score
from harness.scoring.answer_forms import OpenForm
from harness.scoring.answer_reading import no_answer, parsed_json, verdict
from harness.scoring.field_rules import FieldOptions, FieldRule
from harness.scoring.label_parsing import answer_text
from harness.scoring.references import SHOWN, NoReferenceError, plain_json
from harness.scoring.tool_calls import ToolCall, calls_in, read_calls
from harness.text_normalization import comparable_text


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


NO_CALL = "no call"
ToolChoice = Literal["auto", "required"]

TOOL_NAME = Metric(name="tool_name", row_value="tool_name")
ARGUMENT_KEYS = Metric(name="argument_keys", row_value="argument_keys")
ARGUMENT_VALUES = Metric(name="argument_values", row_value="argument_values", proportion=False, low=0.0, high=1.0)
ARGUMENT_F1 = Metric(name="micro_f1", kind="counts", row_value="hits", proportion=False, unit="argument")

EXACT = FieldRule(FieldOptions(match="exact"))


@dataclass(frozen=True)
class ToolCallForm(OpenForm):
    """A call of one of the tools, as JSON or as the model's chat template writes it.

    rules: how an argument is compared, by its name (else exactly). choice: "required" makes an answer without a call a
    format error; with "auto" it is an answer, right where the reference is no call.
    """

    tools: Mapping[str, Tool]
    choice: ToolChoice = "auto"
    rules: Mapping[str, FieldRule] = field(default_factory=dict)
    max_tokens: int = 256

    def json_schema(self) -> dict[str, Any]:
        """An object with the name and the arguments of one of the tools."""
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": dict(tool.parameters)},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for tool in self.tools.values()
        ]
        return calls[0] if len(calls) == 1 else {"anyOf": calls}

    def metrics(self) -> tuple[Metric, ...]:
        """The whole call, its tool, which arguments are given, and their values."""
        return (
            ACCURACY,
            TOOL_NAME,
            ARGUMENT_KEYS,
            ARGUMENT_VALUES,
            ARGUMENT_F1,
            FORMAT_ERROR_RATE,
            LENIENT_ACCURACY,
        )

    def further_metrics(self) -> tuple[Metric, ...]:
        """The rest of what every form has."""
        return (LENIENT_FORMAT_ERROR_RATE,)

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "cut off", "no call", "several calls", "extra text", "unknown tool", "not JSON" (the
        arguments), "arguments against the schema"."""
        text = answer_text(completion).strip()
        kind = no_answer(completion)
        calls, alone = ([], True) if kind else read_calls(text)
        if kind is None:
            kind = self._kind(calls, alone=alone, cut=completion.finish == "length")
        expected = self._call_of(reference)
        guess = calls[0] if len(calls) == 1 and calls[0].arguments is not None else None
        none = not calls and kind is None
        given = guess if kind is None else None
        score = verdict(
            NO_CALL if none else None if given is None else given.text(),
            kind,
            reference,
            NO_CALL if not calls else None if guess is None else guess.text(),
            right=self._right(given, expected),
            alike=self._right(guess, expected) and (guess is not None or not calls),
        )
        values = self._values(given, expected) if reference and not (kind and expected is None) else {}
        return msgspec.structs.replace(score, values=values)

    def _kind(self, calls: list[ToolCall], *, alone: bool, cut: bool) -> str | None:
        if cut and not (len(calls) == 1 and alone):
            return "cut off"
        if not calls:
            return "no call" if self.choice == "required" else None
        if len(calls) > 1:
            return "several calls"
        call = calls[0]
        if not alone:
            return "extra text"
        if call.name not in self.tools:
            return "unknown tool"
        if call.arguments is None:
            return "not JSON"
        return "arguments against the schema" if self.tools[call.name].complaint(call.arguments) else None

    def _right(self, call: ToolCall | None, expected: ToolCall | None) -> bool:
        if call is None or expected is None:
            return call is expected
        if call.name != expected.name or call.name not in self.tools:
            return False
        given, wanted = (self.tools[call.name].filled(one) for one in (call, expected))
        return given.keys() == wanted.keys() and all(self._same(key, given[key], wanted[key]) for key in wanted)

    def _same(self, key: str, given: Any, wanted: Any) -> bool:
        return self.rules.get(key, EXACT).count(_of(given), _of(wanted)).right

    def _values(self, call: ToolCall | None, expected: ToolCall | None) -> dict[str, float]:
        """Name, keys and values of a call, and what each argument counts that one of the two writes, defaults filled in
        on the other side."""
        if expected is None:
            return {"tool_name": float(call is None)}
        tool = self.tools[expected.name]
        same_tool = call is not None and call.name == expected.name
        wanted = tool.filled(expected)
        given = tool.filled(call) if call is not None and same_tool else {}
        written = (expected.arguments or {}).keys() | ((call.arguments or {}).keys() if call and same_tool else set())
        right = {key for key in written & wanted.keys() & given.keys() if self._same(key, given[key], wanted[key])}
        values = {
            "tool_name": float(same_tool),
            "argument_keys": float(same_tool and given.keys() == wanted.keys()),
            "argument_values": (len(right) / len(written) if written else 1.0) if same_tool else 0.0,
        }
        parts = (("hits", right), ("references", wanted.keys() & written), ("answers", given.keys() & written))
        return values | {f"{part}:{tool.name}.{key}": 1.0 for part, keys in parts for key in sorted(keys)}

    def _call_of(self, reference: str) -> ToolCall | None:
        parsed = parsed_json(reference)
        calls = None if parsed is None else calls_in(parsed[0])
        return calls[0] if calls else None

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """A call in any of the usual shapes; nothing, an empty list and "no call" say that there must be none."""
        if isinstance(value, str) and comparable_text(value) not in ("", NO_CALL, "none", "null"):
            parsed = parsed_json(value)
            if parsed is None:
                raise NoReferenceError(f"'{value[:SHOWN]}' is no JSON of a call")
            value = parsed[0]
        if is_missing(value) or isinstance(value, str) or value == []:
            if self.choice == "required":
                raise NoReferenceError('holds no call, and tool_choice = "required" makes every such answer an error')
            return NO_CALL
        calls = calls_in(plain_json(value))
        if calls is None or len(calls) != 1:
            what = kind_of(value) if calls is None else f"{len(calls)} calls"
            raise NoReferenceError(f'holds {what}, not one call ({{"name": .., "arguments": {{..}}}})')
        call = calls[0]
        if call.name not in self.tools:
            raise NoReferenceError(f"calls '{call.name}', which is none of the tools {', '.join(self.tools)}")
        why = "are no JSON object" if call.arguments is None else self.tools[call.name].complaint(call.arguments)
        if why is not None:
            raise NoReferenceError(f"calls '{call.name}' with arguments against its schema: {why[: 3 * SHOWN]}")
        return call.text()


def _of(value: Any) -> Any:
    """A value that rules do not take for an absent one: an argument that is given as null or empty is given."""
    return [[value]] if value is None or value in ("", []) else value
