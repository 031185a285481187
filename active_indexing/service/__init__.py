"""A store behind HTTP: who asks with a browser or a program gets the answers of ``query``."""
