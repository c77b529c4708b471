"""The places a circuit can run, one file each."""
