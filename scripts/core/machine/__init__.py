"""How the machine is used: threads and memory of the process."""
