"""The disposable index: SQLite with FTS5 and embeddings, made equal to the files at each read."""
