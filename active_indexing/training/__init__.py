"""Training descriptors: views, losses, and the loop that ties them."""
