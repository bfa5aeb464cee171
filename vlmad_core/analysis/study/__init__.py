"""The study: six questions about vision-language anomaly detection, answered from stored, repeatable ablations."""
