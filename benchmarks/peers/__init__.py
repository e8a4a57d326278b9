"""What a user would pick instead, on the same topics and the same S3 server: `python -m benchmarks.peers`."""
