"""Tests that share one shop: a package, so that its platform goes before another is started."""
