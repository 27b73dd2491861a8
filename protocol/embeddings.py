"""Embeddings: vectors for texts."""

from typing import Literal

Purpose = Literal["query", "document", "similarity", "classification", "clustering", "code"]
"""What vectors are for. `code`: a question to which code is the answer."""
