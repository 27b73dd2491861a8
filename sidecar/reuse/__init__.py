"""Answers that are stored and used again, for chats that ask for it: exact, scoped, bounded."""
