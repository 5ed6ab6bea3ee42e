"""`bench train --launch accelerate`: the same command in several processes, by accelerate's own launcher.

The launcher runs in this process, so that the processes end with it: a Ctrl-C or SIGTERM
here is handed to each of them, and a process whose launcher is gone ends by itself (`ranks.together`).
"""

import logging
import os
import signal
import sys

import torch

from harness.errors import ExitCode, TrainingError, UsageError


class LaunchError(TrainingError):
    """A process of the training was killed."""

    exit_code = ExitCode.INCOMPLETE


def launch(arguments: list[str], processes: int | None) -> int:
    """Run `bench ARGUMENTS` in so many processes of this machine (default: one a GPU); returns its exit code.

    Raises UsageError where the number is missing or wrong, LaunchError where a process was killed.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    count = processes or torch.cuda.device_count()
    if "RANK" in os.environ:
        raise UsageError("--launch inside a launcher: leave it out, torchrun or accelerate has started the processes.")
    if count < 2:
        raise UsageError(
            "--launch accelerate needs at least two processes: use --num-processes N "
            f"({torch.cuda.device_count()} GPUs here), or leave it out."
        )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it in a sentence
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    settings = ["--multi_gpu", "--num_processes", str(count), "--num_machines", "1", "--main_process_port", "0"]
    settings += ["--mixed_precision", "no", "--dynamo_backend", "no", "--module", "harness"]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count))
    settings = ["--num_cpu_threads_per_process", threads, *settings]
    sys.stdout.flush()
    try:
        launch_command(launch_command_parser().parse_args([*settings, *arguments]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return int(failure.exitcode)
        name = signal.Signals(-failure.exitcode).name
        raise LaunchError(
            f"process {rank} of {count} was killed ({name}) and the others were ended; "
            "the same command continues after the last checkpoint."
        ) from None
    except SignalException as error:
        return int(ExitCode.INTERRUPTED if error.sigval == signal.SIGINT else 128 + error.sigval)
    return int(ExitCode.DONE)
