"""The page of a scale: verdicts, Table 1 and what stands behind each of its cells."""
