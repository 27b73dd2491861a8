"""One request to several models at once: the branches, how they run, and which answer is chosen."""
