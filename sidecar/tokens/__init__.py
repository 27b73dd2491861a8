"""Counting tokens offline: texts, tools, media, families of models, vocabularies."""
