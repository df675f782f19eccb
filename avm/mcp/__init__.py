"""The Model Context Protocol as a door: names in, errors out, no logic."""
