"""`[backends.NAME.ray]`: how many workers, what each needs, and which cluster gives it. Ray itself is not imported."""

import msgspec

from harness.errors import UsageError


class RaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Workers of one base model; docs/scale.md says more.

    workers: how many. num_gpus: GPUs of each worker; left out: 1 where the cluster has any, else 0. num_cpus: CPUs of
    each worker. resources: custom resources of each worker, as `ray start --resources` names them.
    address: "ray://HOST:PORT", "HOST:PORT", "auto" (a cluster that runs on this machine) or "local" (start one);
    left out: RAY_ADDRESS, else one is started. wait_s: seconds that workers may take to be placed and ready.
    """

    workers: int = 1
    num_gpus: float | None = None
    num_cpus: float = 1.0
    resources: dict[str, float] = {}
    address: str | None = None
    wait_s: float = 120.0


def check_ray(name: str, ray: RaySettings) -> None:
    """Refuse figures that mean nothing. Raises UsageError naming the key."""
    where = f"[backends.{name}.ray]"
    if ray.workers < 1:
        raise UsageError(f"{where}: workers must be at least 1.")
    if ray.wait_s <= 0:
        raise UsageError(f"{where}: wait_s must be above 0.")
    for what, amount in {"num_gpus": ray.num_gpus or 0.0, "num_cpus": ray.num_cpus, **ray.resources}.items():
        if amount < 0:
            raise UsageError(f"{where}: {what} must not be negative.")
