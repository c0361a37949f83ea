"""Code that the scripts share: equations, files, data, models and training."""
