"""Tables, figures and claims: each module makes one artifact from explicitly named files."""
