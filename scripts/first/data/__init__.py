"""The four datasets as uniform tables."""
