"""What a draw costs, beside every peer that is installed: `python -m benchmarks`."""
