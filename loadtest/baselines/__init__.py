"""Other servers around the same model, to compare with."""
