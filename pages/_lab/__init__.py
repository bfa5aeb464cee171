"""Parts of the prompt lab."""
