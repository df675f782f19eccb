"""Text to vectors: the model runs in a program of its own, which this process talks to by pipes."""
