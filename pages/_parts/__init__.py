"""Parts of the page for a user's own parts."""
