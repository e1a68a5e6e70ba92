"""Makers of contrasts, one file each: what a folder must hold, and how it is read."""
