"""What differs between two runs, by topic, as a reader of a comparison needs it."""

from pathlib import Path

import msgspec
import pytest

from harness.errors import NotComparableError
from harness.gating.compare_runs import compare_two_runs, run_differences
from harness.gating.evaluate import GateSource
from harness.records import BackendIdentity, Completion, Message
from harness.runs.run_log import Manifest, RunLog
from tests.support.synthetic_run import MAKERS, synthetic_run

IDENTITY = BackendIdentity(kind="local", model="/models/small", decode="choose", adapter="a1", adapter_sha256="1" * 64)


def manifest(identity: BackendIdentity = IDENTITY, **changes: object) -> Manifest:
    blank = Manifest(id="r", task="t", task_spec="t", parser="1", rows=5, backends={"m": identity})
    return msgspec.structs.replace(blank, **changes)


def test_equal_runs_differ_in_nothing() -> None:
    assert run_differences(manifest(), manifest(), [("m", "m")]) == ()


def test_each_difference_has_its_topic_and_both_values() -> None:
    other = msgspec.structs.replace(
        IDENTITY, model="/models/large", adapter=None, adapter_sha256=None, price={"input": 2.0}, settings={"rpm": 5}
    )
    a = manifest(options={"prompt": "short.txt"}, data={"split": "test"}, versions={"torch": "2.6"}, git="a" * 40)
    b = manifest(other, shots=2, rows=1, data={"split": "dev"}, versions={"torch": "2.7"}, git="b" * 40 + "-dirty")
    found = [(d.topic, d.name, d.a, d.b) for d in run_differences(a, b, [("m", "m")])]
    assert found == [
        ("model", "model", "/models/small", "/models/large"),
        ("adapter", "adapter", "a1", "-"),
        ("adapter", "adapter weights", "11111111", "-"),
        ("prompt", "prompt", "short.txt", "-"),
        ("prompt", "shots", "0", "2"),
        ("settings", "price", "-", "input 2.0"),
        ("settings", "rpm", "-", "5"),
        ("rows", "rows", "5 rows", "1 row"),
        ("rows", "split", "test", "dev"),
        ("environment", "commit", "aaaaaaaa", "bbbbbbbb-dirty"),
        ("environment", "torch", "2.6", "2.7"),
    ]


def test_two_backends_of_one_run_differ_by_their_own_settings_alone() -> None:
    two = manifest(backends={"m": IDENTITY, "n": msgspec.structs.replace(IDENTITY, settings={"max_length": 128})})
    (only,) = run_differences(two, two, [("m", "n")])
    assert (only.name, only.a, only.b, only.backends) == ("max_length", "-", "128", "m and n")


@pytest.mark.parametrize(("same_rows", "said"), [(True, "shots 0 and 2"), (False, "their rows differ")])
def test_runs_without_a_common_request_are_refused_with_the_reason(tmp_path: Path, same_rows: bool, said: str) -> None:
    makers = {"m": MAKERS["gpt4"]}
    log = synthetic_run(tmp_path / "a", 12, makers=makers)
    other = synthetic_run(tmp_path / "b", 12, seed=0 if same_rows else 1, makers=makers)
    rows = [
        (r.sample, msgspec.structs.replace(r.request, messages=(Message(role="user", content="?"),), passages=()))
        for r in other.rows()
    ]
    changed = RunLog.create(tmp_path / "c", msgspec.structs.replace(other.manifest, shots=2), rows)
    with changed.writer("m") as writer:
        for n, line in enumerate(other.lines("m").values()):
            writer.append(n, Completion(id=line.id, text=line.text, finish="stop"), line.score)
    summary = other.summary()
    assert summary is not None
    changed.write_summary(summary)
    with pytest.raises(NotComparableError, match="have no row with the same request") as refused:
        compare_two_runs(GateSource.of_run(log), GateSource.of_run(changed), None, None)
    assert said in str(refused.value)
