"""One module for each action or close family of actions."""
