"""Training images in memory, and batches of them."""
