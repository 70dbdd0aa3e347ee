"""Assemble artifacts and put them into the BentoML model store."""
