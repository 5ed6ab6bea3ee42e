"""Simulations of every interval and verdict of Bench on rows whose truth is known.

    python -m benchmarks.statistics_grid [--part PART] [--runs N] [--quick] [--out FOLDER]
    python -m benchmarks.statistics_grid --write-docs

Three quantities are estimated on a grid of sizes and shapes of data:

- **false pass**: how often the gate passes a candidate whose true loss is exactly the margin (at most 5 %);
- **coverage**: how often a displayed 95 % interval contains the true value (at least 94 %);
- **power**: how often the gate passes a candidate that is exactly as good as its reference.

All figures come from Bench's own functions (`product.py`), never from a second implementation of them.
"""
