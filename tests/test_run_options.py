"""One record of options: the command line and `harness.run` are made from it."""

import inspect
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

import harness
from docs.generate.command_line import commands
from harness import runner
from harness.backend import BackendOption, Capabilities, OptionTarget, capabilities_of
from harness.errors import UsageError
from harness.execution.backend_setup import backend_tables, resumed_tables
from harness.records import BackendIdentity
from harness.run_options import SESSION_OPTIONS, RunKeywords, RunOptions
from harness.runs.run_log import Manifest
from harness.settings import Settings

FIELDS = {field.name: field for field in msgspec.structs.fields(RunOptions)}


def bare(hint: Any) -> set[Any]:
    """The types of a field without limits and paths; the words of a Literal."""
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    inner = [part for part in get_args(hint) if part is not type(None)] if get_origin(hint) not in (None, tuple) else []
    found = {one for part in inner for one in bare(part)} if inner else {hint}
    return {one for one in found if "PathLike" not in str(one)}


def test_the_keywords_of_run_are_the_fields_of_the_record_with_the_same_types() -> None:
    keywords, fields = get_type_hints(RunKeywords), get_type_hints(RunOptions)
    assert list(keywords) == [name for name in FIELDS if name not in ("task", "backends")]
    assert {name: bare(hint) for name, hint in keywords.items()} == {name: bare(fields[name]) for name in keywords}


def test_bench_run_without_flags_is_the_record_with_its_defaults() -> None:
    typed = commands()["run"].make_context("run", []).params
    for name, field in FIELDS.items():
        assert typed[name] == (None if field.default is msgspec.NODEFAULT else field.default), name


def test_flags_become_the_values_of_the_record() -> None:
    words = ["--no-cache", "--latency-probe", "3", "--probe", "blank", "--max-cost", "0.5", "--batch", "--limit", "7"]
    typed = commands()["run"].make_context("run", words).params
    options = RunOptions.of("agnews", ["a"], {n: typed[n] for n in FIELDS if n not in ("task", "backends")})
    assert not options.use_cache and options.batch
    assert (options.probe_rows, options.probe, options.max_cost, options.limit) == (3, "blank", 0.5, 7)


def test_every_verb_that_shares_an_option_shares_its_words() -> None:
    run, estimate = ({p.name: p for p in commands()[verb].params} for verb in ("run", "estimate"))
    shared = set(run) & set(estimate) & set(FIELDS)
    assert len(shared) == 11
    for name in shared:
        assert run[name].opts == estimate[name].opts
        assert run[name].to_info_dict()["help"] == estimate[name].to_info_dict()["help"]


def test_the_python_function_has_the_options_with_their_defaults() -> None:
    parameters = {p.name: p.default for p in inspect.signature(harness.run).parameters.values()}
    parameters["probe_rows"] = parameters.pop("latency_probe")
    for name in set(FIELDS) - {"task", "backends"}:
        assert parameters[name] == FIELDS[name].default, name


def test_resume_takes_the_options_of_one_session() -> None:
    taken = set(inspect.signature(runner.resume).parameters)
    assert taken - {"path", "settings", "workspace", "observer"} == set(SESSION_OPTIONS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"limt": 3}, "a run has no option 'limt'; did you mean 'limit'"),
        ({"limit": 0}, "limit: a whole number >= 1 is expected"),
        ({"max_cost": -1.0}, "max_cost: a number >= 0.0 is expected"),
        ({"repeats": "two"}, "repeats: a whole number is expected, not text in quotes"),
        ({"batch": 1}, "batch: true or false is expected, not a whole number"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        RunOptions.of("agnews", ["a"], options)


def test_paths_are_options_too(tmp_path: Path) -> None:
    assert RunOptions.of("agnews", ["a"], {"data": tmp_path, "out": tmp_path}).data == str(tmp_path)


class OwnSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: str
    engine: str = "small"
    place: str = "here"
    pool: dict[str, int] = {}
    pace: int = 1
    revision: str = "auto"


class OwnBackend:
    """A backend class of a user's own, which declares what applies to it."""

    Settings = OwnSettings
    capabilities = Capabilities(
        options={
            "base": OptionTarget(setting="engine"),
            "workers": OptionTarget(setting="pool.size", requires={"place": "cluster"}),
        },
        resume_from_settings=frozenset({"pace"}),
        resume_from_identity=frozenset({"revision"}),
    )


class PlainBackend:
    """A backend class that declares nothing."""

    Settings = OwnSettings


OWN = f"{__name__}:OwnBackend"
PLAIN = f"{__name__}:PlainBackend"


def tables(settings: dict[str, dict[str, Any]], **options: Any) -> dict[str, dict[str, Any]]:
    return backend_tables(RunOptions.of("agnews", list(settings), options), Settings(backends=settings))


def test_options_reach_the_backends_whose_class_takes_them_and_no_others() -> None:
    own = {"kind": OWN, "place": "cluster", "pool": {"spare": 1}}
    settings: dict[str, dict[str, Any]] = {"own": own, "plain": {"kind": PLAIN}}
    found = tables(settings, base="large", workers=4)
    assert found["own"] == {
        "kind": OWN,
        "place": "cluster",
        "engine": "large",
        "pool": {"spare": 1, "size": 4},
    }
    assert found["plain"] == {"kind": PLAIN}
    assert settings["own"]["pool"] == {"spare": 1}, "the settings themselves are not changed"


def test_an_option_that_no_backend_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="--workers 2 applies to none of the backends plain"):
        tables({"plain": {"kind": PLAIN}}, workers=2)


def test_an_option_that_would_have_no_effect_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match='--workers 2 has no effect on own as set: use place = "cluster" too'):
        tables({"own": {"kind": OWN}}, workers=2)
    with pytest.raises(UsageError, match="--workers 2 has no effect on llama as set: use --executor ray too"):
        tables({"llama": {"kind": "local"}}, workers=2)


def test_a_resumed_run_takes_from_todays_settings_what_the_class_declares() -> None:
    table = {"kind": OWN, "engine": "small", "pace": 1, "revision": "auto"}
    identity = BackendIdentity(
        kind="own", model="small", decode="generate", settings={"revision": "abc", "engine": "x"}
    )
    manifest = Manifest(
        id="r", task="t", task_spec="t", parser="1", backend_settings={"own": table}, backends={"own": identity}
    )
    today = Settings(backends={"own": {"kind": OWN, "engine": "large", "pace": 9, "revision": "def"}})
    assert resumed_tables(manifest, today)["own"] == {"kind": OWN, "engine": "small", "pace": 9, "revision": "abc"}
    declares_nothing = msgspec.structs.replace(manifest, backend_settings={"own": {**table, "kind": PLAIN}})
    assert resumed_tables(declares_nothing, today)["own"] == {**table, "kind": PLAIN}


def test_every_option_of_backends_is_an_option_of_a_run() -> None:
    assert set(get_args(BackendOption)) <= set(FIELDS)


def test_capabilities_of_another_type_are_refused() -> None:
    class Wrong:
        capabilities: ClassVar[dict[str, Any]] = {"options": {}}

    with pytest.raises(UsageError, match="backend class 'Wrong': capabilities must be a harness"):
        capabilities_of(Wrong)
