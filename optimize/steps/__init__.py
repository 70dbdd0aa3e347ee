"""The steps. Each takes a model or a graph, a config and what it learns from, and gives back a model or a graph."""
