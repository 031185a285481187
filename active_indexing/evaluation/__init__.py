"""How well copies of released images are found."""
