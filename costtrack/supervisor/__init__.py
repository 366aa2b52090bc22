"""`costtrack up`: brings up every part of an installation on one machine, watches the parts, and stops them."""
