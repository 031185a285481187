"""From input files to released files."""
