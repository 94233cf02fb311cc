"""Loading, heads, prefix-sharing attention, chunked log-probabilities: from packs to numbers the objectives read."""
