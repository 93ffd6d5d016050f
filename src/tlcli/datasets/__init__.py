"""Images: where they come from, which there are, and how one becomes an array."""
