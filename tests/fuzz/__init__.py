"""Input that was bent at random: see `python -m tests.fuzz`."""
