"""Budgets for models that take thinking tokens in place of an effort, on every wire that has such models. [pure]"""

MIN_THINKING_TOKENS = 1024
"""The APIs refuse a smaller budget."""

BUDGET_TOKENS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 31_999}
"""Thinking tokens by effort: our choice."""
