"""Long jobs and tools, started from the command line."""
