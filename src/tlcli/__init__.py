"""tlcli: from a folder of labelled images to a trained, honestly measured image classifier."""

__version__ = "0.1.0"
