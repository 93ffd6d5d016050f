"""Run directories: where they are, and the files in them."""
