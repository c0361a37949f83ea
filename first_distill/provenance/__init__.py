"""What a result was made from and by which code."""
