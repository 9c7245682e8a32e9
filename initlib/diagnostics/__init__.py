"""Reports: what was measured in a model or a file, as tables, verdicts and pictures."""
