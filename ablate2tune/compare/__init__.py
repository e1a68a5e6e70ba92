"""Compare: the same prompts and seeds before and after tuning, read by a calibrated judge."""
