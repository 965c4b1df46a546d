"""dlt sources for SMS platforms: one package for each service, and the machinery they share."""
