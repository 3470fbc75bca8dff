"""What became of recorded customers, and how good the decisions were."""
