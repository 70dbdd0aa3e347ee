"""Judge models: the road from measure over quality and gates to verify; operating point and search."""
