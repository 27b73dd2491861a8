"""What comes out of an answer beside its text: JSON, code, files."""
