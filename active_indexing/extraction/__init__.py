"""Descriptors of many images, on disk."""
