"""Contrasts: examples with a text that is true of them and one that is not, which state a
capability."""
