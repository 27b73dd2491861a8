"""One module for each way to authorize a request."""
