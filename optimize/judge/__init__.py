"""How good a model is: measurements, gates, evidence, operating point, search."""
