"""Reports about one model: facts from verified statements as one JSON document, and the HTML page and ML-BOM made of it."""
