"""Who may ask a provider now, and whether a question is asked again: gates, token buckets, retries."""
