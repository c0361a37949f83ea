"""Tables, figures and claims from evaluations."""
