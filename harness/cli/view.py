"""`bench view`: the runs of the workspace in a browser, with live progress."""

import click

from harness.cli.options import json_option, quiet_option


@click.command()
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), help="Port on 127.0.0.1 (default: a free one).")
@json_option
@quiet_option
def view(port: int | None, as_json: bool, quiet: bool) -> int:
    """Serve the runs of the workspace and their reports on this machine, with live progress, until Ctrl-C.

    The address holds a random key, and nobody else's machine can reach it. Nothing can be written through it.
    """
    import contextlib
    import json
    import signal

    from harness.reports.run_server import RunServer
    from harness.workspace import Workspace

    server = RunServer(Workspace.current().runs, port or 0)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    try:
        with contextlib.suppress(KeyboardInterrupt):
            click.echo(json.dumps({"address": server.address}) if as_json else server.address)
            if not quiet:
                click.echo("bench: open this address in a browser; Ctrl-C ends it.", err=True)
            server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()
    return 0
