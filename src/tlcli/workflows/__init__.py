"""The story of each command: a few named steps that return a dataclass. Nothing here prints or exits."""
