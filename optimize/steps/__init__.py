"""Steps: one file each, found through the registry; `step` says what a step is."""
