"""Any OpenAI-compatible address the user gives."""
