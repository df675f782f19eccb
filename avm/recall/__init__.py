"""From a question to what answers it: query → candidates → score → pack."""
