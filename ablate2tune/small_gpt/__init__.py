"""A small GPT that is trained from nothing, so that a study can vary its architecture."""
