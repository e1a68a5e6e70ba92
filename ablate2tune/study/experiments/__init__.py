"""What the cells of studies do, one file each."""
