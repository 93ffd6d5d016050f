"""The cache folder: what lies in it, who uses it now, and where things go while it cannot be written."""
