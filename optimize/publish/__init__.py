"""Artifacts, and their way into the BentoML model store."""
