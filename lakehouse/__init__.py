"""Shared parts: settings, tables, Spark session, stream, jobs, embedded services, command line."""
