"""Where things stand: scenes sampled as numbers, before anything is rendered."""
