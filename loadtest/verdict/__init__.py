"""What the replies say of the service: figures, objective, bottleneck. Pure functions without I/O."""
