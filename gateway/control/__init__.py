"""A configuration change on its way: checked, compiled, committed, served, acknowledged."""
