"""What is decided, purely: clock and dice are arguments, and nothing here does I/O."""
