"""Data sets and competitions on Kaggle."""
