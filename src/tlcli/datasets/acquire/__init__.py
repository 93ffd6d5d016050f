"""Bring a data set to its directory: sources, downloads, archives, installation."""
