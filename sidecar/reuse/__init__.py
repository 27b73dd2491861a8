"""Stored answers that are used again for chats that ask for it: exact, scoped, bounded."""
