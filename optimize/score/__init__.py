"""Bulk: a published cascade over a whole table."""
