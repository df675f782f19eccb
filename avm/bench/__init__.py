"""Measuring: vaults of made-up memories, operations on them, and what each could cost at least."""
