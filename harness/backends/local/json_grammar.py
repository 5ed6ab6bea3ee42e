"""What may be answered under `decode = "json"`, as a grammar of llguidance. Nothing here needs torch."""

import re
from typing import Any

from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command

WHITE_SPACE = r"[ ]{1,2}|\r?\n[ \t]{0,16}"
"""Between JSON tokens: blanks or an indented new line. Without a bound, untuned models write nothing else."""


def grammar_of(labels: tuple[str, ...], schema: dict[str, Any] | None) -> str:
    """The grammar of an answer: the schema where there is one, else exactly one of the labels.

    Raises UsageError where there is neither, without llguidance, and for schemas it cannot keep.
    """
    try:
        from llguidance import LLMatcher
    except ImportError:
        raise MissingExtraError(f'decode = "json" needs llguidance: {install_command("json")}.') from None
    if schema is not None:
        grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": WHITE_SPACE})
    elif labels:
        # A plain-text prompt ends without a blank, so its answer may begin with one.
        grammar = LLMatcher.grammar_from_regex(f" ?({'|'.join(re.escape(label) for label in labels)})")
    else:
        raise UsageError('decode = "json" needs a JSON schema or labels, and the task gives neither.')
    problem = LLMatcher.validate_grammar(grammar)
    if problem and not problem.startswith("WARNING"):
        raise UsageError(f"the JSON schema cannot be enforced: {problem.splitlines()[0].rstrip('.')}.")
    return grammar
