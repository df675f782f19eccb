"""The one background program that a vault has at a time. Everything works without it, slower."""
