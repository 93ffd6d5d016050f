"""Downloads that go on where they broke off: the engine, the part on disk, what servers say instead of a file."""
