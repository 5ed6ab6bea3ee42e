"""Mixed package versions across the nodes of a cluster: refused, with both versions in the sentence."""

from collections.abc import Mapping

PACKAGES = ("bench-harness", "torch", "transformers", "peft")
"""What decides an answer on a node."""


def mixed(here: Mapping[str, str], there: Mapping[str, Mapping[str, str]]) -> str | None:
    """What differs, in words; None where nothing does.

    here: versions on the machine that drives, which may lack what it does not need; there: by node. A build's own
    suffix ("2.9.0+cu128") counts among the nodes, and not against the driver.
    """
    nodes = sorted(there)
    for package in PACKAGES:
        absent = [node for node in nodes if package not in there[node]]
        if absent:
            return f"{package} is not installed on {absent[0]}"
        first = there[nodes[0]][package]
        other = next((node for node in nodes if there[node][package] != first), None)
        if other is not None:
            return f"{package} is {first} on {nodes[0]} and {there[other][package]} on {other}"
        own = here.get(package)
        if own is not None and own.partition("+")[0] != first.partition("+")[0]:
            return f"{package} is {own} on this machine and {first} on {nodes[0]}"
    return None
