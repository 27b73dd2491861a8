"""What the process costs, measured from outside against the least that could do the same: `python -m tests.bench`."""
