"""Tables and figures from a run's files; reads CSVs and JSON only."""
