"""A trained model as one artefact for other runtimes, with its preparation arithmetic, head and calibration inside."""
