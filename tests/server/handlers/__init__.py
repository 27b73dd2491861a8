"""The handlers of actions, with a host and an HTTP client that are the test."""
