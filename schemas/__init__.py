"""What travels: records, topics, the wire, the error tree. No I/O."""
