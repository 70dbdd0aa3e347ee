"""The way to an expert: messages, the queue in front of it, and the client."""
