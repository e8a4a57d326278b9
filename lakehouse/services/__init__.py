"""The parts that `shoplake up` starts on this machine: a real broker, a real S3 server, a real Spark."""
