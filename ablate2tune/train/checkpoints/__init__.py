"""What is kept of a run on its way, beside the state that it goes on from."""
