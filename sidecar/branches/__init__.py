"""Several models asked the same at once: who they are, how they run, which answer is chosen."""
