"""The frozen pass and its store: every picture goes through the backbone once."""
