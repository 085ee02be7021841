"""Reader study: blinded session pages for radiologists, and the scores of their answers."""
