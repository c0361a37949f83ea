"""Figures 2, 3, 5 and 6, and the figure of meters."""
