"""Where an image should land, and how far it is from there."""
