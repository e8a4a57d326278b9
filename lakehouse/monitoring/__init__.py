"""Alerts: rules over figures that the lake has, what each rule's state is, and who is told when it changes."""
