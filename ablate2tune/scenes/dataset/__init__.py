"""The rendered data set on disk: its records, and the forms it can be written in."""
