"""What every layer may use: errors, clock, names, access rules, configuration, memory files."""
