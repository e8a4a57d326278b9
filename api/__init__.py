"""The HTTP API: starts, watches and cancels jobs through the run registry. `app` puts it together."""
