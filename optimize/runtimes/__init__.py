"""Runs one graph under several runtimes and measures them in turn."""
