"""The demo: two organizations with a month of realistic usage."""
