"""Which provider, which address, which settings, which credential: a row and settings become a target."""
