"""What is watched while a model trains: that its figures are finite, and what a step costs."""
