"""A set of modules instead of a list: each is chosen by what it adds to those chosen already."""
