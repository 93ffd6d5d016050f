"""The frozen pass and its store: every image goes through the backbone once."""
