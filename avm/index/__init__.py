"""The disposable index: SQLite with FTS5 and embeddings, kept equal to the files before each read."""
