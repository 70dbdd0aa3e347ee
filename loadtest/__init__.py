"""Load tests: see HTTP only, and import nothing of the service."""
