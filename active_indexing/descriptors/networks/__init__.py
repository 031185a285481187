"""Architectures of descriptors."""
