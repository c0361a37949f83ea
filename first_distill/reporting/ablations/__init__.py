"""Ablations: what changes if one choice does?"""
