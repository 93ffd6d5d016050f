"""tlcli: from a directory of labelled images to a trained, honestly measured image classifier."""

__version__ = "0.1.0"

from tlcli.api import evaluate, load, train

__all__ = ["evaluate", "load", "train"]
