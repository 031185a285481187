"""Active image indexing: move an image imperceptibly so that its copies are found in a FAISS index."""
