"""The workflow's configuration: read, checked, documented."""
