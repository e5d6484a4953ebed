"""What a config and a command line say, before anything is built of them: words as typed, ids, values."""
