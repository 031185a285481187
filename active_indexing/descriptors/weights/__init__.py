"""Files of weights: layouts, downloads, our own format."""
