"""Classifiers on stored features: the fitted thing, and the two ways to fit it."""
