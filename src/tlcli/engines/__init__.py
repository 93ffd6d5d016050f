"""What runs a backbone."""
