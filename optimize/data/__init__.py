"""Data sets: readers, splits, and inputs as arrays."""
