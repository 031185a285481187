"""Losses of training, one idea a file."""
