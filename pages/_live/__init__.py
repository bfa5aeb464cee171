"""Parts of the live demo."""
