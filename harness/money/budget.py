"""`--max-cost`: a ceiling over all backends of a run that counts what is in flight and is never passed."""

from dataclasses import dataclass


@dataclass
class Budget:
    """Money of one run, USD. Not for use from several threads: the run's event loop owns it.

    A backend reserves the most a request can cost before it sends, and settles with the true cost after.
    """

    ceiling: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    def reserve(self, most: float) -> bool:
        """Set `most` aside; False (and nothing set aside) where the ceiling could be passed."""
        if self.ceiling is not None and self.spent + self.reserved + most > self.ceiling:
            return False
        self.reserved += most
        return True

    def settle(self, reserved: float, cost: float) -> None:
        """Give back a reservation and book what the request did cost."""
        self.reserved -= reserved
        self.spent += cost
