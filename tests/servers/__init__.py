"""Real servers, proxies and keychains that others wrote: see `python -m tests.servers`."""
