"""Formats of other tools and trainers, out and in."""
