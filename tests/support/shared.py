"""Real data beside the checkout (`../shared/data`), where a machine has them; their tests skip elsewhere."""

import pytest

from tests.support.processes import ROOT

SHARED = ROOT.parent / "shared" / "data"


def needs_shared(name: str) -> pytest.MarkDecorator:
    """Skips a test where `name` is not among the real data."""
    return pytest.mark.skipif(not (SHARED / name).exists(), reason=f"../shared/data/{name} is not available")
