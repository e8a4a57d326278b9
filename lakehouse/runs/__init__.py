"""The run registry: which jobs were asked for, run, or ended, durably; and the workers that run them.

`registry` is what callers use (submit, look, cancel), `claims` what workers use, `states` the legal moves of a run.
"""
