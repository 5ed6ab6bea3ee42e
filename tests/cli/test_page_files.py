"""Verbs that write a page refuse a name that promises another format, before anything is computed."""

import click
import pytest
from click.testing import CliRunner

from harness.cli.adapter import adapter
from harness.cli.cascade import cascade
from harness.cli.compare import compare
from harness.cli.parity import parity

COMMANDS = [(compare, ["a", "b"]), (parity, ["a", "b"]), (cascade, ["a"]), (adapter, ["report", "a"])]


@pytest.mark.parametrize(("verb", "words"), COMMANDS)
def test_a_pdf_is_refused_by_name(verb: click.Command, words: list[str]) -> None:
    done = CliRunner().invoke(verb, [*words, "--out", "x.pdf"])
    assert done.exit_code == 2
    assert "a page is written, so take a name that ends in .html" in " ".join(done.output.split())


def test_a_cascade_is_also_written_as_a_chart() -> None:
    done = CliRunner().invoke(cascade, ["a", "--out", "x.pdf"])
    assert ".html, .svg or .png" in " ".join(done.output.split())
