"""Proof that an objective computes what it says: oracles, values worked out by hand, laws, invariances."""
