"""The stock pipeline's own call: one prediction of it, and what is switched while it samples."""
