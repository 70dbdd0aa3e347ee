"""Measure a service: get to know it, drive it at a rate, find the highest rate, compare encodings."""
