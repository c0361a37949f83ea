"""Models and datasets of the hub, or of a local mirror."""
