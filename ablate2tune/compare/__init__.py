"""Compare: arms on the same prompts and seeds, read by a calibrated judge."""
