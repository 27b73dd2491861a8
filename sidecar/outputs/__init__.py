"""What is read out of the text of an answer: JSON, code, files."""
