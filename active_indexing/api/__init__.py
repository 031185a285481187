"""Pictures in, pictures out: activation, description and search from Python."""
