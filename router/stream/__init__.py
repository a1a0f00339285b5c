"""The stream on Faust: its app, and how it fetches, tracks and commits."""
