"""How large a deployment has to be for a rate of events, and what it costs a month on AWS."""
