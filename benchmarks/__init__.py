"""What the service costs and keeps, measured: `make bench`."""
