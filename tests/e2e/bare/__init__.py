"""Tests that share a platform without a stream: a package, so that it goes before another is started."""
