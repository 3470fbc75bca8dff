"""What operators see: metrics, access lines, logs and traces."""
