"""Models: checkpoints, training, distillation, and their graphs."""
