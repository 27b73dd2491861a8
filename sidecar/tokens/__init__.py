"""Counting tokens offline: estimates, media, families of models, vocabularies."""
