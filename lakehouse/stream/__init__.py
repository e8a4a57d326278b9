"""The stream: Kafka → bronze → silver → gold, live."""
