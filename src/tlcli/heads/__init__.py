"""Linear classifiers on stored features: the task, the two ways to fit a head, cross-validation, calibration."""
