"""Definitions of numbers, in NumPy and SciPy."""
