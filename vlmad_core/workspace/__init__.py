"""A user's own parts and what is done with them: photos in, jobs that outlive a page, decisions and recipes."""
