"""The context window: whether a conversation fits into it, and what to leave out of one that does not."""
