"""`sidecar doctor`: what was found, what is wrong with it, and what to do."""
