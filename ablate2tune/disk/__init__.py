"""What lies on the disk: content hashes, locks, state, and what users bring, read strictly."""
