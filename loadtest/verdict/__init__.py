"""What became of the requests, and what it says of the service."""
