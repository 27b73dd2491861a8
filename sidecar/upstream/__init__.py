"""Asking a provider anything: the HTTP client, gates, retries, and the questions beside a chat."""
