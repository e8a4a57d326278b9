"""Records as they came from Kafka, byte-exact."""
