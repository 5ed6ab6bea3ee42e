"""llama.cpp's own HTTP server from the package xllamacpp: `python -m harness.adapters.llama_cpp_server --model F ..`.

Takes the flags of `llama-server` that `bench serve` uses, for machines without that program; one thread for each CPU
that the process may use, as there.
"""

import argparse
import signal
import threading
from typing import Any

from harness import hardware


def main() -> None:
    """Serve until the process is asked to end."""
    parser = argparse.ArgumentParser(description="Serve a GGUF file by llama.cpp's server.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--lora")
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ctx-size", type=int, default=8192)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--threads", type=int, default=hardware.usable_cores())
    parser.add_argument("--chat-template", default="")
    given = parser.parse_args()
    import xllamacpp

    parameters: Any = xllamacpp.CommonParams()
    parameters.model.path = given.model
    parameters.model_alias = {given.alias}
    parameters.hostnames = [given.host]
    parameters.port = given.port
    parameters.n_ctx = given.ctx_size
    parameters.n_parallel = given.parallel
    parameters.cpuparams.n_threads = given.threads
    parameters.use_jinja = True
    parameters.chat_template = given.chat_template
    if given.lora:
        parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(given.lora, 1.0)]
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()


if __name__ == "__main__":
    main()
