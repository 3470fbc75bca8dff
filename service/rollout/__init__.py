"""Changes of the served models while the service runs: verified copies, two-phase switches, shadow and canary."""
