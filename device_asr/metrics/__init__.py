"""What is measured: latency, word errors, clips."""
