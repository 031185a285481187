"""A release store that lives for years: one folder, one database that is the truth."""
