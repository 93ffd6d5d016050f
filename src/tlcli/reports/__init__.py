"""Results -> images."""
