"""What modes and addresses need beside the model, and how it is collected."""
