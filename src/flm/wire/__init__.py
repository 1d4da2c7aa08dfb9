"""What crosses a process boundary: snapshots, channel messages, journal frames, control verbs."""
