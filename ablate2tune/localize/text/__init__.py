"""What the probes of language models share: sequences, batches, means, the probe's base."""
