"""The picture of a comparison: what changed over all prompts, and a few of them drawn by seed."""
