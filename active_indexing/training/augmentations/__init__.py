"""Edited views for training."""
