"""What may be changed about an image, and how much."""
