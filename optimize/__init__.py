"""From a trained checkpoint to a published pair of screen and expert. Needs torch; imports `serving`."""
