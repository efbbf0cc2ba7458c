"""`rex import`: from a site's files, through its SQL, to the raw lake."""
