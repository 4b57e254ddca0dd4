"""PyTorch networks, what normalizes them, and what passes through them."""
