"""What Shoplake costs and how fast it is. Prints figures; never a verdict."""
