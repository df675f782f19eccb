"""The door of coding agents: what AVM puts into their configuration, and takes out again."""
