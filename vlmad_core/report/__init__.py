"""The report: one html file for people who do not run the program; it opens offline and prints."""
