"""Many things at once, with results in order."""
