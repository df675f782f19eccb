"""What a path shows: real files and virtual nodes. No FUSE here; all text comes from the API."""
