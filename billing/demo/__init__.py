"""The demo: two organizations with three months of realistic usage."""
