"""Losses and the training loop; teachers, students, base models."""
