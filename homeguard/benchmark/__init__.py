"""What listening costs on this machine: time, memory and delay, beside its peers in one run."""
