"""Descriptors: architectures, weights, preprocessing and the default descriptor."""
