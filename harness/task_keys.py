"""The keys of a task file."""

from typing import Any, Literal

import msgspec

from harness.scoring.number_form import NumberOptions
from harness.scoring.tool_call_form import ToolChoice

FormName = Literal[
    "text", "label", "multi-label", "ordinal", "number", "pattern", "json", "fields", "tool-call", "spans"
]
"""Forms of answer, as the key `form` names them."""


class HubKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [hub], for data = "hub:owner/name".

    config: one of the data set's configurations. revision: a commit, branch or tag. splits: our names of splits -> the
    data set's, as in test = "validation" (default: the names that it has itself).
    """

    config: str | None = None
    revision: str | None = None
    splits: dict[str, str] = {}


class TaskFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a task file.

    prompt: Jinja template over the columns of a row; `{{ labels }}` prints the labels. messages: instead of a prompt,
    the column that holds a conversation, a list of {role, content}; its last turn is the right answer unless
    `reference` names another column. name: the task's name (default: the file's). version: raise it when parsing or
    scoring changes; runs of different versions are never compared. system: template of a system message.
    data: a file or folder, relative to the task file, or "hub:owner/name". hub: which part of a data set of the Hub.
    columns: our names of columns -> those of the data, as in text = "Review Text". delimiter, encoding: of its CSV
    files (default: found by their content). reference: the column of the right answer; with `fields` it may be left
    out, each field is then a column of its own.
    form: of the answer; the other keys usually say it ("label" with labels, "fields" with fields, ..), "multi-label",
    "ordinal" and "spans" must be named. labels: the closed set; "train" for all that the training rows have; or a file
    with one a line, or a JSON list, beside the task file; of ordinal ones the lowest first. aliases: other spellings of
    a label that answers and data may use. values: label for each value that the data holds in its place, as in
    0 = "no". none: the answer that stands for no label at all (multi-label). pattern: regular expression of a whole
    answer; its first group, if any, is the answer. schema: JSON schema of the answer; a reference is then JSON, as text
    or as an object. number: tolerance, range and unit of a number. fields: name and rule of each field of a JSON
    object; of a tool call, the rule of arguments that are not compared exactly. tools: a list of {name, description,
    parameters}, or a JSON file of one. tool_choice: "auto", or "required" where every answer must be a call.
    target: template of the answer to train on, which may name any column (default: the reference). group: column that
    joins rows which are not independent. slices: columns by which results are split. metrics: what is reported, the
    first is the headline. positive: the label that f1, precision and recall are about. max_tokens: most tokens of an
    answer (0: enough for the longest label; else by the form of the answer). stop: texts that end an answer. recipe:
    what `bench train` uses when it names none.
    """

    prompt: str = ""
    messages: str | None = None
    name: str = ""
    version: str = "1"
    system: str | None = None
    data: str | None = None
    hub: HubKeys | None = None
    columns: dict[str, str] = {}
    reference: str = ""
    delimiter: str | None = None
    encoding: str | None = None
    form: FormName | None = None
    labels: tuple[str | bool | int | float, ...] | str = ()
    aliases: dict[str, tuple[str, ...]] = {}
    values: dict[str, str] = {}
    none: str | None = None
    pattern: str | None = None
    schema: dict[str, Any] | None = None
    number: NumberOptions | None = None
    fields: dict[str, Any] = {}
    tools: tuple[dict[str, Any], ...] | str = ()
    tool_choice: ToolChoice | None = None
    target: str | None = None
    group: str | None = None
    slices: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    positive: str | None = None
    max_tokens: int = 0
    stop: tuple[str, ...] = ()
    recipe: str = "agnews-generate"
