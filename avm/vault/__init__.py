"""Files and git: what the vault holds, what is ignored, who wrote what, committing, history."""
