"""What the service costs, measured by commands; each writes its figures into build."""
