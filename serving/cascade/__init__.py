"""Screen, deferral rule, expert: how one item gets its answer."""
