"""Recalibration, temperature search, calibration metrics and their intervals."""
