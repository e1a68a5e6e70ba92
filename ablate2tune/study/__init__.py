"""Studies: one variable at a time, several seeds, controls; each cell an ordinary run."""
