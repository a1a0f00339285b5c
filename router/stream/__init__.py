"""The stream on Faust: fetching, tracking and committing, below its app."""
