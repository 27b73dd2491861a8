"""The user's configuration: the environment and one file, read once into one frozen value."""
