"""The loopback endpoint speaks the OpenAI protocol over real HTTP and knows nothing but training rows."""

import subprocess
import sys
from pathlib import Path

import openai
import pytest

from harness.adapters.loopback_server import MODEL, loopback
from harness.data.rows import DataSource
from harness.task_loading import build_request, load_rows
from harness.tasks.agnews import AgNews


def test_the_openai_client_gets_an_answer_from_it(rows: Path) -> None:
    task = AgNews()
    samples = load_rows(task, DataSource(location=str(rows), split="train"))[:4]
    with loopback("agnews", str(rows)) as server:
        client = openai.OpenAI(base_url=server.url(), api_key="none", max_retries=0)
        for sample in samples:
            content = build_request(task, sample).messages[0].content
            answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
            assert answer.choices[0].message.content in task.labels
            assert answer.usage is not None and answer.usage.prompt_tokens == len(content.split())
        streamed = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": content}],
            stream=True,
            stream_options={"include_usage": True},
        )
        parts = list(streamed)
        text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
        assert text == answer.choices[0].message.content
        assert parts[-1].usage is not None
        with pytest.raises(openai.BadRequestError):
            client.post("/chat/completions", body={"messages": "none"}, cast_to=object)


def test_it_reads_the_training_split_alone(rows: Path) -> None:
    (rows / "test.jsonl").unlink()
    with loopback("agnews", str(rows)) as server:
        assert server.url().startswith("http://127.0.0.1:")


def test_it_ends_when_its_parent_is_gone(rows: Path) -> None:
    command = [sys.executable, "-m", "harness.adapters.loopback_server", "--task", "agnews", "--data", str(rows)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline().startswith(b"http")
        process.stdin.close()
        assert process.wait(timeout=30) == 0
