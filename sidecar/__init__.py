"""A long-lived process that lets an editor talk to every AI provider over NDJSON on stdin and stdout."""

__version__ = "0.1.0"
