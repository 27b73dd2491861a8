"""Tasks: rows of prompts, models and options, what the user has changed about them, and the chats they make."""
