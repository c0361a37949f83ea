"""Model cards of students."""
