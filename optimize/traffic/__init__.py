"""Unlabelled traffic: what screen and expert say of it, and what can be promised on it."""
