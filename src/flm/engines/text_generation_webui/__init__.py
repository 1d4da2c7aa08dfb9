"""text-generation-webui, from a folder of the user's."""
