"""From conversations to token streams: templates and masks, truncation, the token store, packs, sampler, data check."""
