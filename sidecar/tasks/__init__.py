"""Tasks: named prompts with models and options, the user's changes to them, and the chats that they become."""
