"""Baselines: other servers around the same model. They share no code with the load test."""
