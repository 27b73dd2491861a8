"""Several models at once."""
