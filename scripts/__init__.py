"""The scripts that the workflow runs; each can also be run by hand as `python -m scripts.NAME`."""
