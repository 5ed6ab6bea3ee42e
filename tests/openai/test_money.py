"""Costs come from usage and the price table; a ceiling is never passed; unknown stays unknown."""

import datetime
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness.errors import UsageError
from harness.money.prices import Budget, Price, most_prompt_tokens, price_table
from harness.records import Usage
from harness.runner import resume, run
from harness.settings import Settings
from harness.workspace import Workspace
from tests.openai.asking import PRICE, ask, row, rows
from tests.support.openai_server import OpenAIServer, ServerConfig


def of_server(server: OpenAIServer) -> float:
    """What the server's own count of tokens costs, USD."""
    s = server.stats()
    fresh = s.prompt_tokens - s.cached_tokens
    return (fresh * PRICE["input"] + s.cached_tokens * PRICE["cached_input"] + s.completion_tokens * 4.0) / 1e6


def test_the_ledger_equals_the_servers_count_cached_tokens_included(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(cached_share=0.5))
    asked = ask(server.url, tmp_path, rows(40))
    assert asked.incurred == pytest.approx(of_server(server), rel=1e-12)
    assert sum(c.usage.cached_tokens for c in asked.completions) == server.stats().cached_tokens > 0


def test_the_ledger_holds_through_faults(server: OpenAIServer, tmp_path: Path) -> None:
    faults = {"500": 0.05, "cut": 0.05, "reset": 0.05, "empty_choices": 0.05}
    server.reset(ServerConfig(faults=faults, seed=3))
    asked = ask(server.url, tmp_path, rows(200))
    assert len(asked.by_id) == 200
    assert asked.incurred == pytest.approx(of_server(server), rel=1e-12)


def test_a_ceiling_is_never_passed_and_all_that_was_paid_is_kept(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(delay_s=0.01))
    ceiling = 0.001
    asked = ask(server.url, tmp_path, rows(500), max_cost=ceiling, concurrency=16)
    assert asked.stop is not None
    assert asked.stop.kind == "max cost"
    spent = of_server(server)
    assert 0.8 * ceiling < spent <= ceiling
    assert asked.incurred == pytest.approx(spent)
    assert len(asked.completions) == server.stats().requests


def test_a_run_that_met_its_ceiling_goes_on_under_a_higher_one_and_pays_for_nothing_twice(
    server: OpenAIServer, tmp_path: Path
) -> None:
    rows_of_ours = [{"text": f"Report {n} on item {n * n}", "label": n % 4} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows_of_ours))
    table = {"kind": "openai", "model": "m", "base_url": server.url, "price": PRICE, "concurrency": 4}
    common = {"settings": Settings(backends={"api": table}), "workspace": Workspace(tmp_path), "use_cache": False}
    ceiling = 0.002
    log = run("agnews", ["api"], data=str(tmp_path / "rows.jsonl"), max_cost=ceiling, **common)  # type: ignore[arg-type]
    answered = len(log.answered("api"))
    assert 0 < answered == server.stats().requests < 40
    assert of_server(server) <= ceiling
    assert len(resume(log.path, max_cost=ceiling, **common).answered("api")) == answered  # type: ignore[arg-type]
    log = resume(log.path, max_cost=1.0, **common)  # type: ignore[arg-type]
    assert len(log.answered("api")) == 40 == server.stats().requests
    assert log.incurred("api") == pytest.approx(of_server(server), rel=1e-12)


def test_attempts_that_may_have_been_billed_count_against_the_ceiling(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(faults={"cut": 1.0}))
    asked = ask(server.url, tmp_path, rows(500), max_cost=0.002)
    assert asked.stop is not None
    assert asked.stop.kind == "max cost"
    assert 0.0 < asked.counters["maybe_billed_usd"] <= 0.002
    assert asked.incurred == 0.0


def test_a_ceiling_needs_a_price(server: OpenAIServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"price of m is unknown.*price = "):
        ask(server.url, tmp_path, rows(1), max_cost=1.0, price=None)
    assert server.stats().requests == 0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"omit": ["max_tokens"]}, "omit leaves max_tokens out"),
        ({"model": "gpt-5", "omit": ["max_completion_tokens"]}, "omit leaves max_tokens out"),
        ({"extra_body": {"service_tier": "priority"}}, "service tier priority"),
    ],
    ids=str,
)
def test_a_ceiling_needs_a_bound_on_every_answer(
    server: OpenAIServer, tmp_path: Path, settings: dict[str, object], why: str
) -> None:
    server.reset(ServerConfig())
    with pytest.raises(UsageError, match=f"{why}.*--max-cost cannot be kept"):
        ask(server.url, tmp_path, rows(1), max_cost=1.0, **settings)  # type: ignore[arg-type]
    assert server.stats().requests == 0


def test_what_an_earlier_session_may_have_been_billed_counts_against_a_resumed_runs_ceiling(
    server: OpenAIServer, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "one", "label": 0}\n')
    table = {"kind": "openai", "model": "m", "base_url": server.url, "price": PRICE, "max_attempts": 1}
    place: dict[str, Any] = {
        "settings": Settings(backends={"api": table}),
        "workspace": Workspace(tmp_path / "home"),
        "use_cache": False,
    }
    server.reset(ServerConfig(script=("cut",)))
    log = run("agnews", ["api"], data=str(tmp_path / "rows.jsonl"), max_cost=1.0, **place)
    (session,) = log.sessions("api")
    resume(log.path, max_cost=1.5 * session.counters["maybe_billed_usd"], **place)
    assert log.sessions("api")[1].stopped == {"kind": "max cost", "message": mock.ANY}
    assert server.stats().requests == 1
    resume(log.path, max_cost=2.5 * session.counters["maybe_billed_usd"], **place)
    assert server.stats().requests == 2


def test_the_table_prices_a_model_that_bench_toml_does_not(server: OpenAIServer, tmp_path: Path) -> None:
    completion = ask(server.url, tmp_path, [row("r0")], model="gpt-4.1", price=None).by_id["r0"]
    used = completion.usage
    assert completion.cost.list == pytest.approx((used.prompt_tokens * 2 + used.completion_tokens * 8) / 1e6)


def test_an_unknown_price_is_unknown_not_zero(server: OpenAIServer, tmp_path: Path) -> None:
    completion = ask(server.url, tmp_path, [row("r0")], price=None).by_id["r0"]
    assert completion.cost.list is None
    assert completion.cost.incurred is None


def test_usage_that_is_not_told_leaves_the_cost_unknown(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(script=("no_usage",)))
    completion = ask(server.url, tmp_path, [row("r0")]).by_id["r0"]
    assert completion.cost.list is None


def test_cost_is_the_sum_of_its_parts() -> None:
    price = Price(input=2.0, output=8.0, cached_input=0.5, cache_write=2.5)
    usage = Usage(prompt_tokens=1000, cached_tokens=400, cache_write_tokens=100, completion_tokens=50)
    assert price.cost(usage) == pytest.approx((500 * 2.0 + 400 * 0.5 + 100 * 2.5 + 50 * 8.0) / 1e6)
    assert Price(input=2.0, output=8.0).cost(usage) == pytest.approx((1000 * 2.0 + 50 * 8.0) / 1e6)
    assert price.batch() is None


def test_the_bound_on_a_prompts_tokens_holds_for_one_token_a_byte() -> None:
    request = row("r0")
    assert most_prompt_tokens(request) >= len(request.messages[0].content.encode()) + 8


def test_the_table_knows_snapshots_fine_tunes_and_the_day_they_end() -> None:
    table = price_table()
    day = datetime.date(2026, 11, 20)
    assert table.find("gpt-4-turbo").price == Price(input=10, output=30, batch_input=5, batch_output=15)  # type: ignore[union-attr]
    assert table.find("gpt-3.5-turbo-1106").input == 1.0  # type: ignore[union-attr]
    assert table.find("ft:gpt-4o-mini-2024-07-18:acme::abc123").output == 1.2  # type: ignore[union-attr]
    assert table.find("gpt-nobody") is None
    assert table.retired("gpt-3.5-turbo", day) == "2026-10-23"
    assert table.retired("gpt-4.1", day) is None
    assert table.living("gpt-4", day) == "gpt-4.1"
    assert table.living("gpt-4", datetime.date(2027, 2, 1)) == "gpt-6-luna"


def test_every_replacement_in_the_table_is_in_the_table() -> None:
    table = price_table()
    for name, listed in table.models.items():
        assert listed.input > 0 and listed.output > 0, name
        assert listed.replacement is None or listed.replacement in table.models, name
        assert listed.shutdown is None or datetime.date.fromisoformat(listed.shutdown), name


def test_a_budget_counts_what_is_in_flight() -> None:
    budget = Budget(ceiling=1.0)
    assert budget.reserve(0.6)
    assert not budget.reserve(0.6)
    budget.settle(0.6, 0.1)
    assert budget.reserve(0.6)
