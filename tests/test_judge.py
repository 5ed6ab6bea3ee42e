"""A judge sees every pair in both orders; contradictions are ties; its leanings and its cost are reported."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import runner
from harness.backend import RunContext, RunRequirements
from harness.cli.judge import sentences
from harness.errors import BackendStopped, UsageError
from harness.judging.answer_pairs import JUDGEMENTS, AnswerPair, Judgement, JudgeTask, judgement, read_judgements
from harness.judging.judge_run import judge_run
from harness.judging.pairwise_preference import Verdicts, pair_verdicts
from harness.judging.votes import add_votes
from harness.records import BackendIdentity, Completion, Cost, Request
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.task import Task
from harness.workspace import Workspace


class JudgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the fake judges: "odd" likes the answer odd, "first" the answer shown first, "chatty" says too much."""

    kind: str
    likes: str = "odd"
    stop_after: int = 0


class FakeJudge:
    """Reads its two answers from the passages."""

    Settings = JudgeSettings
    asked: list[Request] = []

    def __init__(self, name: str, settings: JudgeSettings, task_name: str, context: RunContext) -> None:
        self.name, self.settings = name, settings

    def identity(self) -> BackendIdentity:
        return BackendIdentity(kind="fake", model="judge-1", decode="generate")

    async def check(self, needs: RunRequirements) -> None:
        assert needs.labels == ("A", "B", "tie")

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        done = 0
        async for request in requests:
            if self.settings.stop_after and done >= self.settings.stop_after:
                raise BackendStopped("no money left", kind="quota")
            done += 1
            FakeJudge.asked.append(request)
            yield Completion(
                id=request.id,
                repeat=request.repeat,
                text=self._verdict(request),
                finish="stop",
                cost=Cost(list=0.01, incurred=0.01),
            )

    def _verdict(self, request: Request) -> str:
        _, first, second = request.passage_texts()
        if self.settings.likes == "first":
            return "A"
        if self.settings.likes == "chatty":
            return "Answer A is better, I think."
        liked = [text == self.settings.likes for text in (first, second)]
        return "tie" if liked[0] == liked[1] else "A" if liked[0] else "B"

    def counters(self) -> dict[str, float]:
        return {}

    async def aclose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _nothing_asked_yet() -> None:
    FakeJudge.asked.clear()


def settings(**judge: object) -> Settings:
    fake = "tests.support.fakes:FakeBackend"
    return Settings(
        backends={
            "right": {"kind": fake},
            "wrong": {"kind": fake, "wrong_every": 3},
            "judge": {"kind": "tests.test_judge:FakeJudge", **judge},
        }
    )


def run(tmp_path: Path) -> RunLog:
    """60 rows; the two differ on the 20 multiples of three: ten even, ten odd."""
    place = {"settings": settings(), "workspace": Workspace(tmp_path), "out": tmp_path / "run"}
    return runner.run("tests.support.fakes:Parity", ["right", "wrong"], **place)  # type: ignore[arg-type]


def judge(tmp_path: Path, log: RunLog, **likes: object) -> Verdicts:
    return judge_run(log, "judge", settings(**likes), workspace=Workspace(tmp_path))


def test_a_judge_is_asked_about_differing_answers_in_both_orders(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, run(tmp_path))
    assert len(FakeJudge.asked) == 2 * 20  # the same answers need no judge
    [pair] = verdicts.pairs
    # It likes "odd": right has odd on ten of the rows, wrong on the ten others.
    assert (pair.judged, pair.wins_a, pair.wins_b, pair.ties, pair.unjudged) == (60, 10, 10, 40, 0)
    assert pair.difference.value == 0.0
    assert pair.p == 1.0
    assert pair.verdict == "not distinguishable"
    assert verdicts.consistent.value == 1.0
    assert verdicts.first_wins.value == 0.5
    assert (verdicts.asked, verdicts.answered, verdicts.cost.incurred) == (40, 40, pytest.approx(0.4))
    assert any("right wins 10, wrong wins 10, 40 ties" in s for s in sentences(verdicts))


def test_a_judge_that_prefers_the_first_answer_decides_nothing_and_is_told_apart(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, run(tmp_path), likes="first")
    [pair] = verdicts.pairs
    assert (pair.wins_a, pair.wins_b, pair.ties) == (0, 0, 60)
    assert verdicts.consistent.value == 0.0
    assert verdicts.first_wins.value == 1.0


def test_an_unreadable_verdict_is_no_verdict(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, run(tmp_path), likes="chatty")
    [pair] = verdicts.pairs
    assert (pair.judged, pair.unjudged) == (40, 20)
    assert verdicts.format_errors == {"extra text": 40}
    assert verdicts.consistent.value is None


def test_judging_again_asks_nothing_and_a_stopped_judge_goes_on(tmp_path: Path) -> None:
    log = run(tmp_path)
    stopped = judge(tmp_path, log, stop_after=15)
    assert stopped.answered == 15
    assert stopped.pairs[0].unjudged == 13
    FakeJudge.asked.clear()
    whole = judge(tmp_path, log)
    assert len(FakeJudge.asked) == 25
    assert whole.answered == 40
    FakeJudge.asked.clear()
    again = judge(tmp_path, log)
    assert not FakeJudge.asked
    assert again == whole
    assert len(read_judgements(log.path)) == 60


def test_verdicts_and_peoples_votes_share_a_file_and_their_agreement_is_reported(tmp_path: Path) -> None:
    log = run(tmp_path)
    first = judge(tmp_path, log)
    assert first.with_people.value is None
    decided = [one for one in read_judgements(log.path) if one.winner != "tie"]
    with (log.path / JUDGEMENTS).open("ab") as file:
        for k, one in enumerate(decided):
            # A rater who agrees three times in four, and saw the two the other way round.
            opposite = {"a": "b", "b": "a"}[str(one.winner)]
            seen = opposite if k % 4 else one.winner
            vote = Judgement(n=one.n, id=one.id, a=one.b, b=one.a, winner=seen, by="ann", kind="person")  # type: ignore[arg-type]
            file.write(msgspec.json.encode(vote) + b"\n")
    assert judge(tmp_path, log).with_people.value == pytest.approx(15 / 20)


def test_a_candidate_can_be_compared_with_the_datas_own_answers(tmp_path: Path) -> None:
    log = run(tmp_path)
    between = ("wrong", "reference")
    verdicts = judge_run(log, "judge", settings(), between=between, workspace=Workspace(tmp_path))
    [pair] = verdicts.pairs
    assert (pair.a, pair.b, pair.judged, pair.ties) == ("wrong", "reference", 60, 40)
    assert (pair.wins_a, pair.wins_b) == (10, 10)  # this judge likes "odd", right or wrong


def test_what_cannot_be_judged_is_told(tmp_path: Path) -> None:
    log = run(tmp_path)
    with pytest.raises(UsageError, match="has no backend 'rigt'; did you mean 'right'"):
        judge_run(log, "judge", settings(), between=("rigt", "wrong"), workspace=Workspace(tmp_path))
    with pytest.raises(UsageError, match="takes two candidates"):
        judge_run(log, "judge", settings(), between=("right",), workspace=Workspace(tmp_path))
    with pytest.raises(UsageError, match="takes two candidates"):
        judge_run(log, "judge", settings(), between=("right", "right"), workspace=Workspace(tmp_path))
    with pytest.raises(UsageError, match="no backend 'jugde'; did you mean 'judge'"):
        judge_run(log, "jugde", settings(), workspace=Workspace(tmp_path))
    (log.path / JUDGEMENTS).write_text('{"n": 1}\n')
    with pytest.raises(UsageError, match=r"judgements\.jsonl:1: not a judgement"):
        judge(tmp_path, log)


def test_a_torn_line_is_written_again(tmp_path: Path) -> None:
    log = run(tmp_path)
    judge(tmp_path, log)
    whole = (log.path / JUDGEMENTS).read_bytes()
    (log.path / JUDGEMENTS).write_bytes(whole[:-20])
    judge(tmp_path, log)
    assert sorted((log.path / JUDGEMENTS).read_bytes().splitlines()) == sorted(whole.splitlines())


def test_votes_behind_a_torn_line_are_not_lost(tmp_path: Path) -> None:
    log = run(tmp_path)
    judge(tmp_path, log)
    whole = (log.path / JUDGEMENTS).read_bytes()
    (log.path / JUDGEMENTS).write_bytes(whole[:-20])
    row = next(iter(log.rows()))
    vote = {"n": row.n, "id": row.sample.id, "choice": "a", "first": "a"}
    export = {"schema": 1, "run": log.manifest.id, "a": "right", "b": "wrong", "by": "ann", "votes": [vote]}
    (tmp_path / "votes.json").write_bytes(msgspec.json.encode(export))
    assert add_votes(log, tmp_path / "votes.json") == 1
    found = read_judgements(log.path)
    assert len(found) == 60  # 59 whole verdicts, and the vote
    assert (found[-1].by, found[-1].winner) == ("ann", "a")


def test_the_judge_sees_the_request_the_answers_and_no_names(tmp_path: Path) -> None:
    log = run(tmp_path)
    judge(tmp_path, log)
    assert isinstance(JudgeTask(), Task)
    content = FakeJudge.asked[0].messages[0].content
    assert "Even or odd?" in content
    assert "right" not in content.split("[Request]")[1]
    assert "wrong" not in content
    one, two = FakeJudge.asked[0].passage_texts()[1:], FakeJudge.asked[1].passage_texts()[1:]
    assert one == two[::-1]


ANSWERS = st.sampled_from(["A", "B", "tie", None])


@given(ANSWERS, ANSWERS)
def test_a_winner_wins_in_both_orders(first: str | None, second: str | None) -> None:
    pair = AnswerPair(n=0, id="x", a="one", b="two", text_a="p", text_b="q")
    one = judgement(pair, (first, second), "j")
    other = judgement(AnswerPair(n=0, id="x", a="two", b="one", text_a="q", text_b="p"), (second, first), "j")
    swap = {"a": "b", "b": "a", "tie": "tie", None: None}
    assert other.winner == swap[one.winner]  # names do not matter
    assert (one.winner is None) == (first is None or second is None)
    if one.winner in ("a", "b"):
        assert {first, second} == {"A", "B"}


def test_rows_of_a_group_are_not_independent() -> None:
    pairs = [
        AnswerPair(n=n, id=str(n), a="one", b="two", text_a="p", text_b="qq", group=f"g{n // 10}") for n in range(40)
    ]
    won = [judgement(p, ("A", "B") if p.n < 30 else ("B", "A"), "j") for p in pairs]
    [grouped] = pair_verdicts(pairs, won)
    [single] = pair_verdicts([msgspec.structs.replace(p, group=None) for p in pairs], won)
    assert (grouped.wins_a, grouped.wins_b) == (single.wins_a, single.wins_b) == (30, 10)
    assert "groups" in grouped.difference.method
    assert single.p is not None and single.p < 0.01 and single.verdict == "one preferred"
    assert grouped.p is not None and grouped.p > 0.05 and grouped.verdict == "not distinguishable"
    assert grouped.longer.value == pytest.approx(10 / 40)


def test_the_verb_prints_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.judge import judge as verb

    log = run(tmp_path)
    (tmp_path / "bench.toml").write_text('[backends.judge]\nkind = "tests.test_judge:FakeJudge"\n')
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    arguments = [str(log.path), "--judge", "judge", "--config", str(tmp_path / "bench.toml"), "--json", "--quiet"]
    assert verb.main(arguments, standalone_mode=False) == 0
    assert json.loads(capfd.readouterr().out)["answered"] == 40
