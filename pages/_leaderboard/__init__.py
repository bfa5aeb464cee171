"""Parts of the leaderboard."""
