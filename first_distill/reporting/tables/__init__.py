"""Table 1 and its cells, Table 2, the data report."""
