"""Measurements of classifiers and of data sets: arrays in, numbers out."""
