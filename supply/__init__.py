"""What goes with a release: advisories of its packages, and the list of what its image holds."""
