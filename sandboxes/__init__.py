"""Sandboxes: where the model's commands and the gate's tests run."""
