"""The engine: methods that change an image so that copies of it are found in the index."""
