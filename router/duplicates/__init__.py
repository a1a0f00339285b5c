"""Ids that clients chose and that were seen within the window, in memory and in Redis."""
