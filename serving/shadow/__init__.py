"""A second cascade answers a copy of the traffic off the path, and is compared with the one that is served."""
