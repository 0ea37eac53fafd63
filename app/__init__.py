"""LocalBazaar: one headless backend for a neighbourhood economy."""
