"""Reports about one model: facts from verified statements as one JSON document, and an HTML page made of it."""
