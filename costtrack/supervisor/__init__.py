"""`costtrack up`: starts all services of an installation on one machine, restarts those that die, and stops them."""
