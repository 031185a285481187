"""Edits that copies undergo, behind one registry; the only importer of augly."""
