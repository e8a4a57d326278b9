"""Shoplake on AWS: templates, releases, and the commands that bring them there (docs/how-to/aws-deploy.md)."""
