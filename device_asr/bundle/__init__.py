"""Model bundles: manifest, vocabulary, symbols."""
