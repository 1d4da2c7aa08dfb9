"""What tests of several rooms share: replayed engines, tiny models."""
