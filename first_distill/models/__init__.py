"""Checkpoints, tokens, batches, forward passes."""
