"""The pages in a real browser: they work, obey nobody, and can be used without a mouse or in the dark."""

import base64
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.deployment.parity_result import DifferentRow, ParityCheck, ParityResult, ParitySide
from harness.files import write_json
from harness.gating.compare_runs import compare_two_runs
from harness.gating.evaluate import GateSource
from harness.judging.votes import VoteFile
from harness.metrics import Estimate
from harness.records import Key
from harness.reports.compare_page import write_compare
from harness.reports.exports import summary_of
from harness.reports.leaderboard_site import write_leaderboard
from harness.reports.parity_page import write_parity
from harness.reports.run_page import write_report
from harness.reports.run_server import RunServer
from harness.reports.training_page import write_training_report
from harness.reports.voting_page import write_voting
from harness.runs.run_log import RunLog
from harness.summary.stored_verdict import by_rank
from tests.reports.browser import AXE, chromium, complaints, eventually, open_rows
from tests.reports.trained import trained_adapter
from tests.support.hostile_run import PAYLOADS, hostile_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(log: RunLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(log, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def keys(driver: Any, *typed: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*typed).perform()


def status(driver: Any) -> str:
    return str(driver.execute_script("return document.getElementById('x-status').textContent"))


def select(driver: Any, box: str, value: str) -> None:
    driver.execute_script(
        "const box = document.getElementById(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event('change'));",
        box,
        value,
    )


def test_a_report_opens_without_a_complaint_and_sorts_by_its_headings(driver: Any, page: Path) -> None:
    driver.get(page.as_uri())
    first = "return document.querySelector('.leading tbody th').firstChild.textContent"
    assert driver.execute_script(first) == "llama-ft"
    heading = driver.find_element("css selector", ".leading thead th:nth-child(4) button")
    heading.click()
    assert driver.execute_script(first) == "always 'Business'"  # the least macro-F1
    assert driver.execute_script("return arguments[0].parentElement.ariaSort", heading) == "ascending"
    heading.click()
    assert driver.execute_script(first) == "llama-ft"
    assert complaints(driver) == []


def test_filters_count_what_the_log_holds(driver: Any, page: Path, log: RunLog) -> None:
    open_rows(driver, page)
    assert status(driver) == "500 rows"
    lines = {n: log.lines(n) for n in log.manifest.backends}
    wrong = {n: {k.n for k, x in v.items() if x.score and x.score.correct is False} for n, v in lines.items()}
    right = {n: {k.n for k, x in v.items() if x.score and x.score.correct} for n, v in lines.items()}
    select(driver, "x-show", "wrong")
    assert status(driver) == f"{len(set().union(*wrong.values()))} of 500 rows"
    select(driver, "x-show", "lost")
    assert status(driver) == f"{len(wrong['llama-ft'] & right['gpt4'])} of 500 rows"
    select(driver, "x-show", "error")
    select(driver, "x-backend", "")
    assert status(driver) == f"{sum(1 for x in lines['gpt4'].values() if x.error)} of 500 rows"
    select(driver, "x-show", "format")
    kinds = {x.score.format for x in lines["llama-base"].values() if x.score and x.score.format}
    assert kinds <= set(
        driver.execute_script("return [...document.getElementById('x-kind').options].map(o => o.value)")
    )


def test_search_finds_texts_and_answers(driver: Any, page: Path, log: RunLog) -> None:
    open_rows(driver, page)
    wanted = {r.n for r in log.rows() if "goalkeeper" in r.request.messages[0].content.lower()}
    box = driver.find_element("id", "x-search")
    box.send_keys("goalKEEPER")
    eventually(lambda: status(driver) == f"{len(wanted)} of 500 rows")
    box.clear()
    box.send_keys("I am not sure about")
    eventually(lambda: "of 500 rows" in status(driver) and status(driver) != f"{len(wanted)} of 500 rows")


def test_the_matrix_shows_a_cell_for_each_backend_and_opens_rows(driver: Any, page: Path, log: RunLog) -> None:
    open_rows(driver, page)
    select(driver, "x-view", "matrix")
    first = "return [...document.querySelectorAll('#x-list .row')[0].children].map(c => c.className)"
    classes = driver.execute_script(first)
    tones = {True: "cell good", False: "cell bad", None: "cell even"}
    scores = [log.lines(name)[Key(0, 0)].score for name in by_rank(summary_of(log))]
    assert classes == ["n", "", "wanted", *(tones[None if score is None else score.correct] for score in scores)]
    driver.execute_script("document.querySelectorAll('#x-list .row')[3].click()")
    assert driver.execute_script("return document.querySelector('#x-detail h3').textContent").startswith("Row 3 ·")
    assert complaints(driver) == []


def test_rows_are_filtered_by_answer_and_length(driver: Any, page: Path, log: RunLog) -> None:
    open_rows(driver, page)
    select(driver, "x-backend", "0")
    name = driver.execute_script("return document.getElementById('x-backend').selectedOptions[0].textContent")
    select(driver, "x-answer", "World")
    assert status(driver) == f"{sum(line.text == 'World' for line in log.lines(name).values())} of 500 rows"
    select(driver, "x-answer", "")
    ranges = driver.execute_script("return [...document.getElementById('x-length').options].map(o => o.value).slice(1)")
    lengths = [len(row.sample.inputs["text"]) for row in log.rows()]
    found = 0
    for span in ranges:
        least, most = map(int, span.split("-"))
        select(driver, "x-length", span)
        mine = sum(least <= length <= most for length in lengths)
        assert status(driver) == f"{mine} of 500 rows" and mine > 50
        found += mine
    assert found == 500


def parity_result() -> ParityResult:
    """A parity check of llama-ft that found three rows answered differently."""
    share = Estimate(value=0.994, low=0.98, high=0.998, n=500)
    check = ParityCheck(
        metric="accuracy", gated=True, rows=500, reference=0.95, served=0.946, difference=-0.004,
        low=-0.012, high=0.004, level=0.9, method="Tango 90 %", margin=0.01, verdict="not shown yet",
    )  # fmt: skip
    return ParityResult(
        verdict="not shown yet", exit_code=0, headline="Not shown yet.", task="agnews", rows=500, margin=0.01,
        reference=ParitySide(backend="adapter", kind="local", model="m"),
        served=ParitySide(backend="llama-ft", kind="openai", model="m"),
        agreement=share, texts=share, different=3, different_rows=(4, 77, 400), checks=(check,),
        examples=(DifferentRow(id="r4", expected="World", reference="World", served="Sports"),),
    )  # fmt: skip


def test_rows_that_a_parity_check_found_different_are_filtered(driver: Any, log: RunLog, tmp_path: Path) -> None:
    shutil.copytree(log.path, tmp_path / "run")
    write_json(tmp_path / "run" / "parity.json", parity_result())
    open_rows(driver, write_report(RunLog.open(tmp_path / "run"), tmp_path / "report.html"))
    select(driver, "x-show", "apart")
    assert status(driver) == "3 of 500 rows"
    assert driver.execute_script("return document.querySelector('#x-detail h3').textContent").startswith("Row 4 ·")
    assert complaints(driver) == []


def test_a_row_is_copied_as_a_line_of_a_data_file(driver: Any, page: Path, log: RunLog) -> None:
    open_rows(driver, page)
    driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    driver.find_element("css selector", "#x-detail button").click()
    button = "return document.querySelector('#x-detail button, #x-detail pre').textContent"
    eventually(lambda: driver.execute_script(button) != "Copy as test case")
    read = "navigator.clipboard.readText().then(arguments[0], () => arguments[0](''))"
    copied = driver.execute_async_script(read) or driver.execute_script(button)
    row = next(iter(log.rows()))
    assert msgspec.json.decode(copied) == {**row.sample.columns, **row.sample.inputs, "label": row.sample.reference}


def test_on_a_phone_the_metric_is_in_sight_and_hidden_columns_are_counted(page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", size="500,900") as phone:
        phone.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        )
        phone.get(page.as_uri())
        ends = "return document.querySelectorAll('.leading tbody tr')[0].cells[2].getBoundingClientRect().right"
        assert phone.execute_script(ends) <= 390
        sign = "return [...document.querySelectorAll('.out-of-sight')].find(p => !p.hidden)?.textContent"
        eventually(lambda: "to the right" in (phone.execute_script(sign) or ""))
        open_rows(phone, page)
        rows = "return document.querySelectorAll('#x-list .row').length"
        assert phone.execute_script("return document.getElementById('x-list').clientHeight") > 200
        eventually(lambda: phone.execute_script(rows) > 3)


def test_a_deep_link_opens_its_row(driver: Any, page: Path, log: RunLog) -> None:
    row = list(log.rows())[321]
    open_rows(driver, page, f"#row={row.sample.id}")
    detail = driver.find_element("id", "x-detail").text
    assert f"Row 321 · {row.sample.id}" in detail and row.sample.inputs["text"] in detail


def test_the_rows_can_be_walked_by_keyboard_alone(driver: Any, page: Path) -> None:
    open_rows(driver, page)
    driver.execute_script("document.getElementById('x-list').focus()")
    heading = "return document.querySelector('#x-detail h3').textContent"
    keys(driver, "jj")
    assert driver.execute_script(heading).startswith("Row 2 ·")
    keys(driver, "k", "\ue015")  # arrow down
    assert driver.execute_script(heading).startswith("Row 2 ·")
    keys(driver, "\ue010")  # end
    assert driver.execute_script(heading).startswith("Row 499 ·")
    keys(driver, "/")
    assert driver.execute_script("return document.activeElement.id") == "x-search"
    keys(driver, "chip", "\ue00c")  # escape
    assert driver.execute_script("return document.activeElement.id") == "x-list"
    shown = "document.getElementById(document.getElementById('x-list').getAttribute('aria-activedescendant'))"
    eventually(lambda: driver.execute_script(f"return {shown}?.ariaSelected === 'true'"))


def test_words_are_compared_with_the_reference(driver: Any, page: Path) -> None:
    open_rows(driver, page)
    select(driver, "x-show", "wrong")
    select(driver, "x-diff", "reference")
    assert driver.find_elements("css selector", "#x-detail .answer ins")
    assert driver.find_elements("css selector", "#x-detail .answer del")


def test_hostile_answers_are_shown_and_execute_nothing(driver: Any, tmp_path: Path) -> None:
    page = write_report(hostile_run(tmp_path / "run"), tmp_path / "report.html")
    open_rows(driver, page)
    driver.execute_script("document.getElementById('x-list').focus()")
    for payload in PAYLOADS:
        detail = driver.execute_script("return document.getElementById('x-detail').textContent")
        assert payload.split("\u2028")[0].split("\u202e")[0].split("\x00")[0] in detail
        keys(driver, "j")
    assert driver.execute_script("return window.hit ?? null") is None
    assert driver.execute_script("return document.images.length") == 0
    assert complaints(driver) == []


def test_in_the_dark_the_page_is_dark_and_its_pictures_follow(page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", dark=True) as dark:
        dark.get(page.as_uri())
        paper = dark.execute_script("return getComputedStyle(document.body).backgroundColor")
        ink = dark.execute_script("return getComputedStyle(document.querySelector('figure svg text')).fill")
    assert paper == "rgb(20, 23, 27)"
    assert ink in ("rgb(231, 234, 238)", "rgb(163, 173, 184)")


def test_it_prints_on_paper_with_the_wrong_answers_and_without_the_explorer(driver: Any, page: Path) -> None:
    open_rows(driver, page)
    pdf = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        shown = "return getComputedStyle(document.getElementById(arguments[0])).display"
        assert driver.execute_script(shown, "explorer") == "none"
        assert driver.execute_script(shown, "static-rows") == "block"
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def serious_faults(driver: Any) -> list[tuple[str, str]]:
    """What axe-core finds serious or critical on the page that is open."""
    if not AXE or not Path(AXE).is_file():
        pytest.skip("axe-core is not installed: npm install axe-core and set BENCH_AXE to its axe.min.js")
    driver.execute_cdp_cmd("Runtime.evaluate", {"expression": Path(AXE).read_text("utf-8")})
    found = driver.execute_async_script("axe.run(document).then(r => arguments[0](r.violations))")
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_serious_fault_in_a_report(page: Path, tmp_path: Path, dark: bool) -> None:
    with chromium(tmp_path / "profile", dark=dark) as driver:
        driver.set_script_timeout(120)
        open_rows(driver, page)
        assert serious_faults(driver) == []


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_serious_fault_in_the_other_pages(log: RunLog, tmp_path: Path, dark: bool) -> None:
    source = GateSource.of_run(log)
    found = compare_two_runs(source, source, "llama-ft", "gpt4")
    site = write_leaderboard([log, log], tmp_path / "site", redact=True).paths
    pages = [
        write_compare(found, log, log, tmp_path / "c.html"),
        write_voting(log, "gpt4", "gpt35", tmp_path / "v.html"),
        write_parity(parity_result(), tmp_path / "p.html"),
        write_training_report(trained_adapter(tmp_path / "adapter", "plain words")),
    ]
    with chromium(tmp_path / "profile", dark=dark) as driver:
        driver.set_script_timeout(120)
        for other in (*pages, *(path for path in site if path.name in ("index.html", "trend.html"))):
            driver.get(other.as_uri())
            assert serious_faults(driver) == [], other.name
            assert complaints(driver) == []


def test_votes_are_cast_by_keyboard_and_saved_as_a_file(driver: Any, log: RunLog, tmp_path: Path) -> None:
    page = write_voting(log, "gpt4", "llama-ft", tmp_path / "vote.html")
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    driver.get(page.as_uri())
    said = "return document.getElementById('v-status').textContent"
    eventually(lambda: driver.execute_script(said).startswith("Row 1 of"))
    keys(driver, "1", "2", "0", "2", "\ue003")  # the last one: backspace
    assert driver.execute_script(said).startswith("Row 4 of")
    driver.find_element("id", "v-name").send_keys("ann")
    driver.find_element("id", "v-save").click()
    file = eventually(lambda: next(tmp_path.glob("votes-*.json"), None))
    assert file is not None
    found = msgspec.json.decode(file.read_bytes(), type=VoteFile)
    assert found.by == "ann" and found.run == log.manifest.id and len(found.votes) == 3
    first, second, third = found.votes
    assert first.choice == first.first and second.choice != second.first and third.choice == "tie"
    assert complaints(driver) == []


def test_the_leaderboard_shows_one_task_or_all(driver: Any, log: RunLog, tmp_path: Path) -> None:
    summary = log.summary()
    assert summary is not None
    other = RunLog.create(tmp_path / "run", msgspec.structs.replace(log.manifest, task="zebra"), [])
    other.write_summary(msgspec.structs.replace(summary, task="zebra"))
    driver.get(write_leaderboard([log, other], tmp_path / "site", redact=True).paths[0].as_uri())
    shown = "return [...document.querySelectorAll('h2')].filter(h => h.offsetParent).map(h => h.textContent)"
    assert driver.execute_script(shown) == ["agnews", "zebra"]
    select(driver, "tasks", "1")
    assert driver.execute_script(shown) == ["zebra"]
    assert complaints(driver) == []


def test_a_training_report_opens_without_a_complaint_whatever_the_rows_say(driver: Any, tmp_path: Path) -> None:
    page = write_training_report(trained_adapter(tmp_path / "a", " ".join(PAYLOADS)))
    driver.get(page.as_uri())
    assert complaints(driver) == []
    assert driver.execute_script("return window.hit") is None
    assert driver.execute_script("return document.querySelectorAll('figure svg').length") == 5
    assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    first = "return document.querySelector('#group tbody th').textContent"
    heading = driver.find_element("css selector", "#group thead th:nth-child(3) button")
    assert driver.execute_script(first) == "1"
    heading.click()
    assert driver.execute_script(first) == "2"


def test_the_page_of_runs_follows_them_and_says_when_its_server_has_ended(
    driver: Any, log: RunLog, tmp_path: Path
) -> None:
    shutil.copytree(log.path, tmp_path / "runs" / "one")
    (tmp_path / "runs" / "one" / "summary.json").rename(tmp_path / "summary.json")
    server = RunServer(tmp_path / "runs")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        driver.get(server.address)
        bars = "return [...document.querySelectorAll('progress')].map(p => [p.value, p.max])"
        assert driver.execute_script(bars) == [[500, 500]] * 4
        (tmp_path / "summary.json").rename(tmp_path / "runs" / "one" / "summary.json")
        link = eventually(lambda: next(iter(driver.find_elements("css selector", "article.run a")), None))
        assert link is not None and driver.execute_script(bars) == []
        assert complaints(driver) == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    said = "return document.getElementById('view-status').textContent"
    eventually(lambda: driver.execute_script(said).startswith("bench view has ended"))
    driver.get("about:blank")
    complaints(driver)  # of the server that is gone
