"""What FLM says, in every language it speaks."""
