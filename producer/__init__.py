"""The event contract, the topics, and everything that publishes events."""
