"""The results store: what runs leave behind, how it is written and read."""
