"""What a study found: figures with intervals, paired tests, tables and curves."""
