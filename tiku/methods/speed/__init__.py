"""Training, and what makes it faster."""
