"""Data sets: acquiring them, scanning their images and labels, and dividing them into splits."""
