"""Puts the project root on the path, so that every test may `from tests.fakes import ...`."""
