"""The datasets as uniform tables."""
