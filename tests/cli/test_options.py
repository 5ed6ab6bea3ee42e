"""The words of options mean the same everywhere."""

import click
import pytest
from click.testing import CliRunner

from docs.generate.command_line import commands
from harness.cli.options import same_command


@pytest.mark.parametrize("name", commands())
def test_every_verb_takes_json_and_quiet(name: str) -> None:
    taken = {word for parameter in commands()[name].params for word in parameter.opts}
    assert {"--json", "--quiet"} <= taken


def test_a_command_is_repeated_with_every_word_that_was_typed_zeros_too() -> None:
    @click.command("train")
    @click.option("--seed", type=int)
    @click.option("--max-cost", type=float)
    @click.option("--set", "overrides", multiple=True)
    @click.option("--json", "as_json", is_flag=True)
    @click.option("--quiet", is_flag=True)
    @click.option("--launch")
    def train(**_: object) -> None:
        click.echo(" ".join(same_command(without=("launch",))))

    typed = ["--seed", "0", "--max-cost", "0", "--set", "a=1", "--set", "b=", "--quiet", "--launch", "accelerate"]
    said = CliRunner().invoke(train, typed).output.strip()
    assert said == "train --seed 0 --max-cost 0.0 --set a=1 --set b= --quiet"
