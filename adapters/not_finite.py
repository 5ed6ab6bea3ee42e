"""A loss that is no number: the one failure that the settings, and not their surroundings, are to blame for."""

from harness.errors import BenchError


class LossNotFiniteError(BenchError):
    """The loss became NaN or infinite: nothing learned after that step is worth anything."""
