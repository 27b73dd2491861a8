"""A chat from its request to its last word: attempts, recovery, fallbacks, limits, the response stream."""
