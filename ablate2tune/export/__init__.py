"""A run's adapter as the files, the model and the target lists of other tools."""
