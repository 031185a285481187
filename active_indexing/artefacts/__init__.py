"""Files that are whole or absent, and what made them."""
