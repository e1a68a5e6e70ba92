"""Whether a finished data set shows what its captions say, and what gives the answer away."""
