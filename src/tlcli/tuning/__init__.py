"""Choosing a network, its input and a head by cross-validation: the search, without files, config or output."""
