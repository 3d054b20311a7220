"""The thin layer between Flask and the protocols: one blueprint for each, and what they share."""
