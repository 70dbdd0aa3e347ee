"""Recipes: one TOML file for each cascade that comes with Sieve."""
