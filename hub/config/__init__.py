"""The settings: their models, and how they are read from a file and the environment."""
