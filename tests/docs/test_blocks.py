"""Every code block of README.md and docs works as printed, or says why it is not run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import DATA, Page, pages, read_page
from tests.docs.commands import check_commands
from tests.docs.comparing import missing_lines
from tests.docs.reading import read
from tests.docs.stage import Stage
from tests.support.openai_server import OpenAIServer, ServerConfig

PAGES = pages()


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """Two servers that answer differently: one for local names, one for GPT."""
    answers = ServerConfig().answers
    with OpenAIServer() as one, OpenAIServer(ServerConfig(answers=(*answers[1:], answers[0]))) as other:
        yield one.url, other.url


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.path, marks=[pytest.mark.slow] * p.slow) for p in PAGES if p.blocks]
)
def test_the_blocks_of_a_page_work(
    page: Page, tmp_path: Path, urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, urls)
    monkeypatch.chdir(stage.folder)
    stage.write_files(page)
    for command in page.before:
        stage.shell(command, page.path)
    for block in page.blocks:
        if "prints" in block.marks:
            missing = missing_lines(block.text, stage.printed)
            assert not missing, (
                f"{block.place}: the block before it does not print {missing}; it prints:\n{stage.printed}"
            )
        elif "not run" in block.marks or block.language == "text":
            continue
        elif block.language in DATA:
            read(block, stage.folder)
        elif "file" not in block.marks:
            stage.run(block)
        else:
            compile(block.text, block.place, "exec")


@pytest.mark.parametrize("page", [pytest.param(p, id=p.path) for p in PAGES])
def test_commands_that_are_not_run_are_commands_all_the_same(page: Page) -> None:
    wrong = [
        f"{block.place}: {said}"
        for block in page.blocks
        if "not run" in block.marks and block.language == "bash"
        for said in check_commands(block.text)
    ]
    assert not wrong


def test_every_block_is_fenced_and_has_a_language() -> None:
    indented = [f"{page.path}:{line}" for page in PAGES for line in page.indented]
    assert not indented, f"write them between ``` with a language: {indented}"
    unnamed = [block.place for page in PAGES for block in page.blocks if not block.language]
    assert not unnamed, f"say which language (bash, python, toml, json, yaml, csv, or text): {unnamed}"


def test_a_reason_is_given_where_a_block_is_not_run() -> None:
    assert not [b.place for p in PAGES for b in p.blocks if "not run" in b.marks and len(b.marks["not run"]) < 8]


def test_marks_belong_to_the_block_below_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- before: true -->\n<!-- not run: it is only an example -->\n```bash\nbench rum\n```\n\n"
        "```python\nx = 1\n```\n\n<!-- exits: 3 -->\nwords between\n\n```toml\na = 1\n```\n\n    indented\n"
    )
    read_back = read_page(page, tmp_path)
    assert [(b.line, b.language, b.marks) for b in read_back.blocks] == [
        (3, "bash", {"not run": "it is only an example"}),
        (7, "python", {}),
        (14, "toml", {}),
    ]
    assert (read_back.before, read_back.slow, read_back.indented) == (("true",), False, (18,))


def test_wrong_commands_are_found() -> None:
    assert "there is no verb 'rum'" in check_commands("bench rum --task agnews")[0]
    assert "No such option" in check_commands("X=1 bench run --task agnews --backend gpt4")[0]
    assert "--limit" in check_commands("true && bench run --task agnews --backends gpt4 --limit none")[0]
    assert not check_commands("bench baseline accept last --out main.json   # a remark\npython -m x")
