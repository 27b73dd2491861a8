"""The contract with the host: requests in, replies out, the vocabulary of a chat, the error codes.

Knows only msgspec. Must not know how a provider, a transport or a process works.
"""
