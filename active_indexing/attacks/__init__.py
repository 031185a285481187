"""Edits that copies undergo; the only importer of augly."""
