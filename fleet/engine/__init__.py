"""Performs a plan: one change at a time per worker, many workers, one road home."""
