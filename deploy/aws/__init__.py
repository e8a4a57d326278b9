"""Shoplake on AWS: templates, releases, and the commands that bring them there; docs/aws.md tells the steps."""
