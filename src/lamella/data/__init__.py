"""Cases, splits, cache, training pairs; and the phantom."""
