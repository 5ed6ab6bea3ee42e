"""llama.cpp's own HTTP server in this process: `python -m benchmarks.real.llamacpp GGUF`.

Prints its address once it listens, and ends when its standard input closes.
"""

import sys

CONTEXT = 8192
SLOTS = 4


def main(model: str) -> None:
    """Serve a GGUF file on loopback with one thread and four slots."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_parallel = SLOTS
    parameters.n_ctx = CONTEXT
    parameters.cpuparams.n_threads = 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1])
