"""The command line: options in, calls, and all that is printed."""
