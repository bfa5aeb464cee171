"""One script per view; see ``app.py``."""
