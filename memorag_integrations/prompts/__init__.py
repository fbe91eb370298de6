"""What we say to models."""
