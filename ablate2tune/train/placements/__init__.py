"""How many modules an adapter is put on and with which ranks, and where others put theirs."""
