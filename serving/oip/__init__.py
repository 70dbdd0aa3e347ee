"""The Open Inference Protocol v2, over REST and gRPC: other names for the same work. See docs/oip.md."""
