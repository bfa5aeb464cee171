"""What stored and reported numbers say: entries, leaderboards, statistics, failures, answers."""
