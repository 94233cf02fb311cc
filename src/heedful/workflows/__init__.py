"""Resumable stages made of the rest: the demo, scoring and sampling files, looking at data."""
