"""Weights & Biases, which shows what the local files hold and can never fail a job."""
