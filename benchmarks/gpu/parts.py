"""The parts of the GPU check in their order, each with its share of the time; the shares add up to nine minutes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.gpu.results import Recorder
    from benchmarks.gpu.workload import Setting

BUDGET_S = 540.0


class Part(NamedTuple):
    """limit_s: seconds of the usual budget after which it is stopped. least_s: with fewer left it is not begun."""

    about: str
    limit_s: float
    least_s: float
    run: "Callable[[Setting, Recorder], None]"


def _limits(setting: "Setting", record: "Recorder") -> None:
    from benchmarks.gpu.limits import measure_limits

    measure_limits(setting, record)


def _answers(setting: "Setting", record: "Recorder") -> None:
    from benchmarks.gpu.answers import check_answers

    check_answers(setting, record)


def _training(setting: "Setting", record: "Recorder") -> None:
    from benchmarks.gpu.training_checks import check_training

    check_training(setting, record)


def _nf4(setting: "Setting", record: "Recorder") -> None:
    from benchmarks.gpu.quantized import check_nf4

    check_nf4(setting, record)


def _liger(setting: "Setting", record: "Recorder") -> None:
    from benchmarks.gpu.training_checks import check_liger

    check_liger(setting, record)


def _shape(name: str) -> "Callable[[Setting, Recorder], None]":
    def run(setting: "Setting", record: "Recorder") -> None:
        from benchmarks.gpu.inference_speed import measure_inference
        from benchmarks.gpu.training_speed import measure_training
        from benchmarks.gpu.workload import shape_of

        shape = shape_of(name, setting)
        measure_inference(setting, shape, record)
        measure_training(setting, shape, record)

    return run


PARTS = {
    "limits": Part("copy bandwidth and matrix rate of the device", 30, 10, _limits),
    "answers": Part("answers of the tiny Llama against the CPU's", 75, 25, _answers),
    "training": Part(
        "training steps of the tiny Llama against the CPU's, shared prefixes on and off", 60, 25, _training
    ),
    "nf4": Part("4-bit weights by bitsandbytes", 40, 20, _nf4),
    "liger": Part("Liger's kernels off and on", 55, 30, _liger),
    "llama-3.2-1b": Part("speed at the shape of Llama 3.2 1B, random weights", 85, 30, _shape("llama-3.2-1b")),
    "llama-3.2-3b": Part("speed at the shape of Llama 3.2 3B, random weights", 90, 30, _shape("llama-3.2-3b")),
    "llama-3.1-8b": Part("speed at the shape of Llama 3.1 8B, random weights", 105, 40, _shape("llama-3.1-8b")),
}
