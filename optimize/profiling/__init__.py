"""Where a model's time goes: stages, operators, and batch size against latency (python -m optimize profile)."""
