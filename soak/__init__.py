"""Long runs that the ordinary tests do not make: other days, other zones."""
