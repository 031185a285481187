"""The vector index; the only importer of faiss."""
