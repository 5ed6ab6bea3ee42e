"""`bench serve`: the engine's command, a server that answers, one that ends, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from harness.adapters.engine_server import Launch, engine_program, free_port, running
from harness.errors import BenchError, MissingExtraError, UsageError
from tests.support.processes import ROOT

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": []}')

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def launch(*words: str) -> Launch:
    return Launch((sys.executable, "-c", *words), "mine", int(words[-1]))


def test_an_engine_is_waited_for_and_ended_with_the_block() -> None:
    port = free_port()
    with running(launch(SERVER, str(port)), wait_s=60) as process:
        assert process.poll() is None
    assert process.poll() is not None


LOADING = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

asked = []

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        loaded = asked.count("/health") > 3
        self.send_response(503 if self.path == "/health" and not loaded else 200)
        self.end_headers()
        self.wfile.write(b'{"loaded": true}' if loaded else b'{"loaded": false}')

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_an_engine_that_lists_its_model_while_loading_it_is_waited_for() -> None:
    here = launch(LOADING, str(free_port()))
    with running(here, wait_s=60), urllib.request.urlopen(f"{here.base_url}/models") as answer:
        assert answer.read() == b'{"loaded": true}'


def test_an_engine_that_ends_is_reported_with_its_last_words() -> None:
    words = "import sys; sys.exit('no such model: mine')"
    said = r"ended with code 1\. It printed last: no such model: mine"
    with pytest.raises(BenchError, match=said), running(launch(words, str(free_port())), wait_s=60):
        pass


def test_an_engine_that_never_answers_is_given_up() -> None:
    asleep = launch("import time; time.sleep(60)", str(free_port()))
    with pytest.raises(BenchError, match="did not answer within 1 s"), running(asleep, wait_s=1):
        pass


def test_the_table_asks_what_is_served() -> None:
    table = Launch(("x",), "mine", 8123, "head").table("here")
    assert table == (
        '[backends.here]\nkind = "openai"\nmodel = "mine"\nbase_url = "http://127.0.0.1:8123/v1"\ndecode = "head"\n'
    )


def test_an_engine_that_is_not_installed_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingExtraError, match="python -m pip install vllm"):
        engine_program("vllm", None)
    with pytest.raises(UsageError, match=r"--program \./vllm-of-mine: there is no such executable"):
        engine_program("vllm", "./vllm-of-mine")


def test_ctrl_c_ends_the_engine_with_the_command(tmp_path: Path) -> None:
    script = tmp_path / "try.py"
    script.write_text(
        "import contextlib, signal, sys\n"
        "from harness.adapters.engine_server import Launch, running\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins without it\n"
        f"launch = Launch((sys.executable, '-c', {SERVER!r}, sys.argv[1]), 'mine', int(sys.argv[1]))\n"
        "with contextlib.suppress(KeyboardInterrupt), running(launch, 60) as process:\n"
        "    print(process.pid, flush=True)\n"
        "    process.wait()\n"
        "print('ended', flush=True)\n"
    )
    command = [sys.executable, str(script), str(free_port())]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as own:
        assert own.stdout is not None
        engine = int(own.stdout.readline())
        own.send_signal(signal.SIGINT)
        assert own.communicate(timeout=60)[0] == "ended\n"
    with pytest.raises(ProcessLookupError):
        os.kill(engine, 0)
