"""The protocol between host and sidecar: requests, reply lines, the vocabulary of a chat, error codes.

Knows only msgspec. Must not know how providers, transports or processes work.
"""
