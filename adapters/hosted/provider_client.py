"""Calls to a provider's files and jobs: tried again where that helps, and every refusal said as a sentence."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import openai

from harness.adapters.hosted.hosted_recipe import HostedRecipe
from harness.backends.openai.error_classification import (
    FatalError,
    TransientError,
    without_row,
)
from harness.backends.openai.openai_settings import OpenAISettings
from harness.backends.openai.retry_policy import retrying
from harness.backends.openai.sdk_client import SDK_ERRORS, classify_sdk, make_sdk_client
from harness.errors import BenchError, IncompleteRunError, UsageError
from harness.text_sanitize import one_line

T = TypeVar("T")
CALL_S, UPLOAD_S = 60.0, 600.0
ATTEMPTS, DEADLINE_S = 8, 1800.0
"""Patient once something is paid: the job itself is safe at the provider."""
FIRST_ATTEMPTS = 3
"""Of the first call of all, before anything is sent."""
NOT_OFFERED = (404, 405, 501)
NOT_TUNABLE = ("model_not_available", "model_not_found", "invalid_model", "unsupported_model")
"""Codes with which a provider refuses to tune a model."""
MOST_WORDS = 400
GREETING, MAKING = "looking for fine-tuning", "making the job"
"""The purpose of a call, as shown in messages."""


class Provider:
    """One OpenAI-compatible server with files and fine-tuning; use it as an async context manager."""

    def __init__(self, recipe: HostedRecipe) -> None:
        self.recipe = recipe
        self.key = find_key(recipe)
        settings = OpenAISettings(
            model=recipe.model, base_url=recipe.url, api_key_env=recipe.api_key_env, timeout_s=CALL_S
        )
        self.client = make_sdk_client("training", settings, recipe.url, self.key)

    async def __aenter__(self) -> "Provider":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    def clean(self, text: str) -> str:
        """A provider's words on one visible line, without the key."""
        return one_line(text.replace(self.key, "[secret]") if self.key else text, MOST_WORDS)

    async def call(self, what: str, once: Callable[[], Awaitable[T]], *, attempts: int = ATTEMPTS) -> T:
        """Carry a call out. `what` completes "the provider .. while". Raises UsageError where it cannot succeed
        as asked, IncompleteRunError where the provider cannot be reached or the account has no money."""

        async def attempt() -> T:
            try:
                return await once()
            except json.JSONDecodeError as error:
                raise TransientError("bad body", f"its answer is no JSON: {error}") from None
            except SDK_ERRORS as error:
                if isinstance(error, openai.APIStatusError) and error.status_code in NOT_OFFERED:
                    raise self._refusal(FatalError("not found", _said(error)), what, error) from None
                verdict = without_row(classify_sdk(error))
                if isinstance(verdict, TransientError):
                    raise verdict from None
                raise self._refusal(verdict, what, error) from None

        try:
            return await retrying(attempts, DEADLINE_S, asyncio.Event())(attempt)
        except TransientError as error:
            raise IncompleteRunError(
                self.clean(f"{self.recipe.url} cannot be asked while {what} ({error})")
                + "; nothing is lost: the same command continues."
            ) from None

    async def offered(self, once: Callable[[], Awaitable[T]], what: str, otherwise: T) -> T:
        """As `call`, with `otherwise` from a server that has no such call."""

        async def attempt() -> T:
            try:
                return await once()
            except openai.APIStatusError as error:
                if error.status_code in NOT_OFFERED:
                    return otherwise
                raise

        return await self.call(what, attempt)

    async def greet(self) -> None:
        """Before anything is uploaded: is the key good, and does this server fine-tune at all?"""

        async def first() -> None:
            try:
                page = await self.client.fine_tuning.jobs.list(limit=1)
            except AttributeError:  # what the client makes of an answer that is no JSON
                page = None
            if page is None or page.data is None:
                raise UsageError(f"{self.recipe.url} answers, but not as an OpenAI-compatible server: check base_url.")

        await self.call(GREETING, first, attempts=FIRST_ATTEMPTS)

    def _refusal(self, error: FatalError, what: str, raised: Exception) -> BenchError:
        recipe, detail = self.recipe, self.clean(str(error))
        code = str(getattr(raised, "code", None) or "")
        named = getattr(raised, "param", None) == "model"
        if error.kind == "authentication":
            return UsageError(f"{recipe.url}: the key in {recipe.api_key_env} was not accepted ({detail}).")
        if what == MAKING and (code in NOT_TUNABLE or named):
            return UsageError(f"{recipe.url} does not tune {recipe.model}: --set model=.. names another ({detail}).")
        if error.kind == "permission":
            return UsageError(f"{recipe.url}: the key in {recipe.api_key_env} may not fine-tune here ({detail}).")
        if error.kind == "no quota":
            return IncompleteRunError(
                f"{recipe.url}: the account has no money or quota left; fix that, then the same command continues "
                f"({detail})."
            )
        if error.kind == "not found" and what in (GREETING, MAKING):
            return UsageError(
                f"{recipe.url} offers no fine-tuning: --set base_url=.. names an OpenAI-compatible server that has "
                f"/fine_tuning/jobs ({detail})."
            )
        hint = f"; is the key in {recipe.api_key_env} another account's?" if error.kind == "not found" else ""
        return UsageError(f"{recipe.url} refuses while {what} ({detail}){hint}.")


def find_key(recipe: HostedRecipe) -> str | None:
    """The key from the environment; None where none is set and another server than OpenAI is meant.

    Raises UsageError naming the variable.
    """
    key = os.environ.get(recipe.api_key_env, "").strip()
    if not key and recipe.at_openai:
        raise UsageError(
            f"the environment variable {recipe.api_key_env} is not set; put the API key there (or name another "
            "variable with --set api_key_env=..)."
        )
    return key or None


def _said(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return f"HTTP {error.status_code}: {body.get('message') or body.get('detail') or error.response.text}"
