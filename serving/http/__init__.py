"""The HTTP side: the API, its checks, and the expert's own endpoint."""
