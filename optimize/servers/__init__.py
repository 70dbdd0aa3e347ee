"""Model repositories for other servers, so that they run an expert."""
