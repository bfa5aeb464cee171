"""VLM-AD: vision-language methods for visual anomaly detection, compared on equal terms."""
