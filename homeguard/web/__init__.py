"""The page behind the link of a message: hear the incident, acknowledge it."""
