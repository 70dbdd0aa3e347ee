"""What is told of a request: its record, metrics, traces and the log."""
