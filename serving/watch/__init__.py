"""Reports what became of each request: its record, metrics, traces and the log."""
